"""Re-derives claims from problem data; knows the vocabulary, numpy and Python integers only."""

from rectifold.certify.verdict import Verdict
from rectifold.certify.verify import verify

__all__ = ["Verdict", "verify"]
