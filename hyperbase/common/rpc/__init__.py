"""The server's side of the wire: connections, calls, limits. What a call does is a service's business."""
