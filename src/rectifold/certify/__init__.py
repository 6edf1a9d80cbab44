"""Re-derives claims from problem data; knows the vocabulary, numpy and Python integers only."""

from rectifold.certify.storage import load_certificate, save_certificate
from rectifold.certify.verdict import Verdict
from rectifold.certify.verify import verify
from rectifold.core.certificate import Grade

__all__ = ["Grade", "Verdict", "load_certificate", "save_certificate", "verify"]
