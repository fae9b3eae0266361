"""Brings footage home: drives restorations until every file is verified, or a person stops them."""
