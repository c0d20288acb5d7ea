"""The changes in order; a change that has been released is never edited."""
