"""Ana and Bob, members of Acme; and books that add up at the end of every test."""

from tests.members.conftest import _the_books_add_up, ana, bob  # noqa: F401
