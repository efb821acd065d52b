"""Notifications: what a session's owner is told when it waits or has ended, by webhook or by a command of the operator.

A change of status writes its notice in the same transaction (`outbox`); a task of the control process delivers it
(`deliverer`), at least once, with an ID that stays the same.
"""
