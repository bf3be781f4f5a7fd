"""How control leaves a statement."""

FALLS = ""  # control goes on to the next statement
LEAVES = "leaves"  # return
BREAKS = "breaks"
CONTINUES = "continues"
RAISES = "raises"
