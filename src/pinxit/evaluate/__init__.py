"""Scores a model by what its pictures show, with judges that were trained apart from it on real drawings."""
