"""Backup and restore of a home: both databases, the platform's files, the workspace store, and keys.

A backup is a folder: `backup.json` names every file with its digest, `home/` holds them. It has keys in it: it is
as secret as the home itself, and closed to others.
"""
