"""Values and decisions, without trio."""

import podkit
from podkit import Permission, Scope, ScopeRule

child, other = Scope.write("/w/x"), Scope.read("/w")

# --- as in the page ---
from podkit.protocol import decode_method, encode_method, decode_event, encode_event   # bytes <-> value, no newline; raises RemoteProtocolError
scope = podkit.Scope(allow=[ScopeRule("/w", Permission.WRITE)], deny=[ScopeRule("/w/.git", Permission.WRITE)])
scope.at("/w/x")            # Permission.NONE | READ | WRITE, for an absolute normal path (lexical; the walk does the filesystem part)
child <= scope              # exact; scope & other; scope - child (write taken away); scope.overlaps(other) (some path writable in both)
scope.explain("/w/.git/x")  # the deciding rule(s) and what would have to change, as a value with a readable str()
# --- until here ---

assert scope.at("/w/x") is Permission.WRITE
assert scope.at("/w/.git/x") is Permission.READ
assert child <= scope and not scope <= child
assert (scope & other).at("/w/x") is Permission.READ
assert (scope - child).at("/w/x") is Permission.READ
assert scope.overlaps(child) and not scope.overlaps(other)
assert "/w/.git" in str(scope.explain("/w/.git/x"))
for lacking in (decode_method, decode_event):
    try: lacking(b"[]")
    except podkit.RemoteProtocolError: pass
    else: raise AssertionError("a list is no message")
