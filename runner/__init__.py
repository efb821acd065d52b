"""The session runner: sandbox, workspace, planner graph, one module per phase."""
