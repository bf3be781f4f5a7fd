"""The verifier: inputs, expected outputs, and whether what a solution left is right."""
