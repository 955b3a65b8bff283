#!/usr/bin/env python3
"""All tokens of a client expire at once.

The same as `npm run lab -- simulate token-expiry`, with the same flags and variables; --help lists them.
"""
import os
import sys

root = os.path.dirname(os.path.realpath(__file__)) + "/../.."
os.execvp("sh", ["sh", os.path.join(root, "scripts", "lab.sh"), *["simulate", "token-expiry"], *sys.argv[1:]])
