"""The Agent API: accounts and keys, sessions, events, questions and answers, artifacts; it dispatches turns."""
