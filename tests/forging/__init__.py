"""Generators of what an attacker, an accident or an odd hospital may bring, seeded."""
