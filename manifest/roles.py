"""The role matrix [P110, P111]: who may do what to whose resource."""

from manifest.types import Action

ROLES = ("admin", "user", "contributor", "inference-user")


def may(role: str, action: Action, *, owns: bool) -> bool:
    """Whether `role` may take `action` on a resource; `owns`: it is the caller's own (for keys: the caller's own keys).

    Inference and viewing: all. Create, and manage one's own: contributor up. Manage others': user up. Own keys: all.
    Others' keys, users and the catalogue: admin. An unknown role may nothing.
    """
    if role not in ROLES:
        return False
    match action:
        case "read" | "infer":
            return True
        case "create":
            return role != "inference-user"
        case "change" | "delete":
            return role in ("admin", "user") or (role == "contributor" and owns)
        case "keys":
            return role == "admin" or owns
        case "users" | "catalogue":
            return role == "admin"
