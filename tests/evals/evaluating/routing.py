"""Route a query to a skill by words alone: TF-IDF cosine over the skills' descriptions.

Not how an agent chooses, but a floor for it: where a query and its skill's description share no
telling word, an agent has to guess. Words are also cut into groups of letters, so that endings and
small typing errors count less. A skill's name adds nothing: its words stand in its description.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

LETTERS = 3
FLOOR = 0.12  # a cosine below it: no skill is meant
COMMON = frozenset(
    "a all an and any are as at be but by can do does every for from get give have how i if in "
    "into is it its just make me my need no not now of on one only or our please pls see so some "
    "tell that the their them then there this to use want was we what when where which who why "
    "will with you your".split()
)


def terms(text: str) -> set[str]:
    """Words but the commonest, and their groups of three letters, ends marked by blanks."""
    found: set[str] = set()
    for word in re.findall(r"[a-z0-9.]*[a-z0-9]", text.lower().replace("_", " ")):
        if word not in COMMON:
            padded = f" {word} "
            found.add(word)
            found.update(padded[i : i + LETTERS] for i in range(len(padded) - LETTERS + 1))
    return found


class Router:
    """Ranks skills for a query; `descriptions` are by skill."""

    def __init__(self, descriptions: Mapping[str, str]) -> None:
        found = {name: terms(text) for name, text in descriptions.items()}
        seen = Counter(term for each in found.values() for term in each)
        self._rarest = math.log(1 + len(descriptions)) + 1
        self._weights = {t: self._rarest - math.log(1 + number) for t, number in seen.items()}
        self._vectors = {name: self._vector(each) for name, each in found.items()}

    def _vector(self, found: set[str]) -> dict[str, float]:
        """The terms, weighted, of length one; a term of no skill weighs as much as the rarest."""
        raw = {term: self._weights.get(term, self._rarest) for term in found}
        length = math.sqrt(sum(value * value for value in raw.values())) or 1.0
        return {term: value / length for term, value in raw.items()}

    def rank(self, query: str) -> list[str]:
        """The skills above the floor, the nearest first."""
        wanted = self._vector(terms(query))
        scores = {
            name: sum(value * vector.get(term, 0.0) for term, value in wanted.items())
            for name, vector in self._vectors.items()
        }
        above = [name for name, score in scores.items() if score >= FLOOR]
        return sorted(above, key=lambda name: (-scores[name], name))
