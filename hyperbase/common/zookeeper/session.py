"""One ZooKeeper session, pinned: it is the one of the first connect, or it is lost; never silently another.

kazoo reconnects by itself, and after an expiry it opens a new session without a word: whoever asks then
sees a healthy client whose ephemeral znodes are gone. It also keeps the negotiated timeout to itself. Both
stand in the answer to each connect request, so this session looks at those: the first pins session id and
password; one that refuses the session ends it for good, and no connect request without a session id is sent
after the first.

Invariants
  * ``lost`` is set before any caller sees an error of the expiry, and never cleared.
  * A connection attempt waits a share of the timeout for one server and then tries the next, and pauses
    between rounds grow to 0.3 s: the session outlives servers that are gone or cut off.
Threads: kazoo's own call listeners, which must not wait; every method may be called from any other.

A process that is started with HYPERBASE_SESSION_FILE notes its session there: whoever sees it die ends the
session with that (``end_noted_session``), and its ephemeral znodes go in milliseconds instead of at expiry.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    ConnectionClosedError,
    ConnectionLoss,
    NodeExistsError,
    NoNodeError,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.serialization import Connect
from kazoo.protocol.states import KazooState
from kazoo.retry import KazooRetry
from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

from hyperbase.common.errors import LeaseLostException, PleaseHoldException
from hyperbase.common.zookeeper.lease import (
    RETRY_DELAY_MAX_S,
    RETRY_DELAY_MIN_S,
    SILENCE_SHARE,
    PendingWrite,
    SessionLostError,
    ZnodeGoneError,
    ZnodeStat,
    boottime,
)

logger = logging.getLogger(__name__)
_kazoo_logger = logging.getLogger(f"{__name__}.kazoo")
_kazoo_logger.setLevel(logging.WARNING)  # what it calls information is of use to nobody who reads our log
T = TypeVar("T")

SESSION_FILE_VARIABLE = "HYPERBASE_SESSION_FILE"
REQUEST_TIMEOUT_S = 10.0
_TRIED_AGAIN = (ConnectionLoss, SessionMovedError, KazooTimeoutError)


class ZnodeExistsError(Exception):
    """The znode exists already, and this session did not make it."""


class ZooKeeperSession:
    """A session with an ensemble.

    Args:
        quorum: ``host:port,host:port``.
        timeout_s: the session timeout to ask for; ``timeout_s`` afterwards says what was granted.
        auth: ``user:password`` of the digest scheme: znodes are then the user's alone, those aside that are
            made ``world_readable``.
        resume: ``(session id, password)`` of a session to go on with, or to end.
        clock: the lease's.
    """

    def __init__(
        self,
        quorum: str,
        *,
        timeout_s: float,
        auth: str = "",
        resume: tuple[int, bytes] | None = None,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self.quorum = quorum
        self._clock = clock
        self._restricted = bool(auth)
        self._resume = resume
        self._session_id, self._password = resume or (0, b"")
        self._timeout_s = timeout_s
        self._connect_sent = float("-inf")
        self._lost = ""
        self._closing = False
        self._stopper: threading.Thread | None = None
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        hosts = quorum.count(",") + 1
        self._handler = _Handler(max(timeout_s * SILENCE_SHARE / hosts, 0.2))
        self._client = KazooClient(
            quorum,
            timeout=timeout_s,
            handler=self._handler,
            client_id=resume,
            auth_data={("digest", auth)} if auth else None,
            connection_retry=KazooRetry(
                max_tries=-1,
                delay=RETRY_DELAY_MIN_S,
                backoff=2,
                max_delay=RETRY_DELAY_MAX_S / 1.4,  # and up to 0.4 of it are added by chance
                sleep_func=self._handler.sleep_func,
            ),
            logger=_kazoo_logger,
        )
        self._invoke = self._client._connection._invoke
        self._client._connection._invoke = self._watched_invoke
        self._client.add_listener(self._state_changed)

    # -- what a lease asks

    @property
    def session_id(self) -> int:
        """The pinned one."""
        return self._session_id

    @property
    def password(self) -> bytes:
        """With ``session_id``: who has both can end the session, see ``end_session``."""
        return self._password

    @property
    def timeout_s(self) -> float:
        """Negotiated at the newest connect."""
        return self._timeout_s

    @property
    def connect_sent(self) -> float:
        """When the request was sent that made the newest connection."""
        return self._connect_sent

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return not self._lost and bool(self._client.connected)

    @property
    def lost(self) -> str:
        """Why the session has ended; empty while it has not."""
        return self._lost

    def write(self, path: str, value: bytes, on_done: Callable[[], None]) -> PendingWrite:
        """Send a setData; never waits."""
        pending = _Pending(self._handler.connection, self._client.set_async(path, value))
        pending.answer.rawlink(lambda _: on_done())
        return pending

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Call it whenever the session connects, loses its connection or ends. It must not wait."""
        with self._lock:
            self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[], None]) -> None:
        """No more."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    # -- its life

    def start(self, wait_s: float = REQUEST_TIMEOUT_S) -> ZooKeeperSession:
        """Connect.

        Raises:
            PleaseHoldException: ZooKeeper did not answer within ``wait_s``.
            LeaseLostException: the session to resume has ended.
        """
        changed = threading.Event()
        self.add_listener(changed.set)
        self._client.start_async()
        end = self._clock() + wait_s
        while not self._lost and not self._client.connected and self._clock() < end:
            changed.wait(max(end - self._clock(), 0))
            changed.clear()
        self.remove_listener(changed.set)
        if self._lost:
            self.close()
            raise LeaseLostException(f"the ZooKeeper session has ended: {self._lost}")
        if not self._client.connected:
            self.close()
            raise PleaseHoldException(
                f"ZooKeeper at {self.quorum} did not answer within {wait_s:g} s: "
                "is it running, is the address right?"
            )
        noted = os.environ.get(SESSION_FILE_VARIABLE)
        if noted and self._resume is None:
            try:
                note_session(noted, self)
            except OSError as error:  # then its znodes stay until the session expires
                logger.warning("session not noted path=%s error=%s", noted, error)
        return self

    def close(self) -> None:
        """End the session: its ephemeral znodes go at once."""
        self._closing = True
        if not self._lost:
            self._lose("closed")
        self._client.stop()
        if self._stopper is not None:
            self._stopper.join(self._timeout_s)
        if self._client._connection.connection_stopped.is_set():
            self._client.close()

    # -- requests

    def create(
        self, path: str, value: bytes, *, ephemeral: bool = False, world_readable: bool = False
    ) -> ZnodeStat:
        """Make a znode.

        Raises:
            ZnodeExistsError: it is there. An ephemeral one of this very session, whose creation went
                unanswered the first time, is none.
            ZnodeGoneError: its parent is not there.
        """

        def begin() -> Any:
            acl = self._acl(world_readable)
            return self._client.create_async(path, value, acl=acl, ephemeral=ephemeral, include_data=True)

        try:
            stat: ZnodeStat = self._ask(begin)[1]
            return stat
        except NodeExistsError as error:
            found = self.get(path) if ephemeral else None
            if found is not None and found[1].ephemeralOwner == self._session_id:
                return found[1]
            raise ZnodeExistsError(path) from error
        except NoNodeError as error:
            raise ZnodeGoneError(path) from error

    def ensure(self, path: str, *, world_readable: Callable[[str], bool] = lambda _: False) -> None:
        """Make an empty znode and those above it, where they are missing."""
        parts = path.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            part = "/" + "/".join(parts[:count])
            if self.get(part) is None:
                try:
                    self.create(part, b"", world_readable=world_readable(part))
                except ZnodeExistsError:
                    continue

    def get(self, path: str, watch: Callable[[Any], None] | None = None) -> tuple[bytes, ZnodeStat] | None:
        """The znode's value and stat; None: there is none. ``watch`` is called once when it changes."""
        try:
            found: tuple[bytes, ZnodeStat] = self._ask(lambda: self._client.get_async(path, watch=watch))
            return found
        except NoNodeError:
            return None

    def exists(self, path: str, watch: Callable[[Any], None] | None = None) -> bool:
        """Whether it is there. ``watch`` is called once when it comes, changes or goes."""
        return self._ask(lambda: self._client.exists_async(path, watch=watch)) is not None

    def children(self, path: str, watch: Callable[[Any], None] | None = None) -> list[str]:
        """The names under it; none if it is not there. ``watch`` is called once when one comes or goes."""
        try:
            names: list[str] = self._ask(lambda: self._client.get_children_async(path, watch=watch))
            return sorted(names)
        except NoNodeError:
            return []

    def set(self, path: str, value: bytes) -> None:
        """Replace the value.

        Raises:
            ZnodeGoneError: it is not there.
        """
        try:
            self._ask(lambda: self._client.set_async(path, value))
        except NoNodeError as error:
            raise ZnodeGoneError(path) from error

    def delete(self, path: str) -> bool:
        """Remove it; False: it was not there, or went with a request that was not answered."""
        try:
            self._ask(lambda: self._client.delete_async(path))
        except NoNodeError:
            return False
        return True

    def replace(self, made: str, value: bytes, removed: str) -> bool:
        """Make one znode and remove another, both or none; False: none."""

        def begin() -> Any:
            transaction = self._client.transaction()
            transaction.create(made, value, acl=self._acl(False))
            transaction.delete(removed)
            return transaction.commit_async()

        results: Sequence[Any] = self._ask(begin)
        return not any(isinstance(result, Exception) for result in results)

    def _acl(self, world_readable: bool) -> list[ACL]:
        if not self._restricted:
            return list(OPEN_ACL_UNSAFE)
        return [*CREATOR_ALL_ACL, *(READ_ACL_UNSAFE if world_readable else ())]

    def _ask(self, begin: Callable[[], Any], wait_s: float = REQUEST_TIMEOUT_S) -> Any:
        end = self._clock() + wait_s
        delay_s = RETRY_DELAY_MIN_S
        while True:
            if self._lost:
                raise LeaseLostException(f"the ZooKeeper session has ended: {self._lost}")
            try:
                return begin().get(timeout=max(end - self._clock(), 0.01))
            except (SessionExpiredError, ConnectionClosedError) as error:
                reason = self._lost or str(error) or type(error).__name__
                raise LeaseLostException(f"the ZooKeeper session has ended: {reason}") from error
            except _TRIED_AGAIN as error:
                if self._clock() + delay_s >= end:
                    raise PleaseHoldException(
                        f"ZooKeeper at {self.quorum} did not answer within {wait_s:g} s "
                        f"({type(error).__name__}): wait and retry"
                    ) from error
            time.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_DELAY_MAX_S)

    # -- what kazoo does

    def _watched_invoke(self, timeout: float, request: Any, xid: int | None = None) -> Any:
        """kazoo's sending of one request while it connects, by its connection thread."""
        if not isinstance(request, Connect):
            return self._invoke(timeout, request, xid)
        if self._lost or (self._session_id and request.session_id != self._session_id):
            self._lose("expired")
            raise SessionExpiredError
        sent = self._clock()
        answer, zxid = self._invoke(min(timeout, max(self._timeout_s * SILENCE_SHARE, 0.2)), request, xid)
        if answer.time_out <= 0:
            self._lose("expired")
        elif self._session_id and answer.session_id != self._session_id:
            self._lose(f"the server answered with another one, 0x{answer.session_id:x}")
            raise SessionExpiredError
        else:
            if not self._session_id:
                self._session_id = answer.session_id
            self._password = bytes(answer.passwd)
            self._timeout_s = answer.time_out / 1000
            self._connect_sent = sent
        return answer, zxid

    def _state_changed(self, state: str) -> None:
        if state == KazooState.LOST and not self._closing:
            self._lose(str(self._client.client_state).lower())
        self._tell()

    def _lose(self, reason: str) -> None:
        with self._lock:
            if self._lost:
                return
            self._lost = reason
        logger.log(
            logging.INFO if self._closing else logging.WARNING,
            "session ended id=0x%x reason=%s",
            self._session_id & (2**64 - 1),
            reason,
        )
        self._tell()
        if not self._closing:
            # kazoo would go on with a new session; stop() waits for the thread that is here.
            self._stopper = threading.Thread(target=self._client.stop, name="hyperbase-zk-stop", daemon=True)
            self._stopper.start()

    def _tell(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener()
            except Exception:
                logger.exception("a listener of the session failed")


def end_session(quorum: str, session_id: int, password: bytes, *, wait_s: float = REQUEST_TIMEOUT_S) -> None:
    """End the session of a process that is known to be dead: its ephemeral znodes go at once, not at expiry.

    Raises:
        PleaseHoldException: ZooKeeper did not answer.
    """
    session = ZooKeeperSession(quorum, timeout_s=wait_s, resume=(session_id, password))
    try:
        session.start(wait_s)
    except LeaseLostException:
        return  # it had expired
    session.close()


def note_session(path: str, session: ZooKeeperSession) -> None:
    """Write what ends the session into a file that only this user can read, all of it or nothing.

    Raises:
        OSError
    """
    noted = {
        "pid": os.getpid(),
        "quorum": session.quorum,
        "session_id": f"0x{session.session_id:x}",
        "password": session.password.hex(),
    }
    temporary = f"{path}.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(noted, file)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def end_noted_session(path: str, pid: int, *, wait_s: float = REQUEST_TIMEOUT_S) -> bool:
    """End the session that a process noted, which is known to be dead; False: this process noted none.

    Raises:
        PleaseHoldException: ZooKeeper did not answer. OSError: the file cannot be read.
    """
    try:
        with open(path, encoding="ascii") as file:
            noted = json.load(file)
        if noted["pid"] != pid:
            return False
        session_id, password = int(noted["session_id"], 16), bytes.fromhex(noted["password"])
        quorum = str(noted["quorum"])
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"{path} is damaged: {error!r}") from error
    end_session(quorum, session_id, password, wait_s=wait_s)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return True


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]
    """kazoo's threads; remembers the connection, and does not wait for one as long as the session lasts."""

    def __init__(self, connect_timeout_s: float) -> None:
        super().__init__()
        self.connect_timeout_s = connect_timeout_s
        self.connection: socket.socket | None = None

    def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = min(kwargs.get("timeout") or self.connect_timeout_s, self.connect_timeout_s)
        self.connection = super().create_connection(*args, **kwargs)
        return self.connection


class _Pending:
    """A heartbeat under way."""

    def __init__(self, connection: socket.socket | None, answer: Any) -> None:
        self.connection = connection
        self.answer = answer

    def done(self) -> bool:
        return bool(self.answer.ready())

    def result(self) -> ZnodeStat:
        try:
            stat: ZnodeStat = self.answer.get(block=False)
            return stat
        except NoNodeError as error:
            raise ZnodeGoneError from error
        except SessionExpiredError as error:
            raise SessionLostError("expired") from error

    def drop_connection(self) -> None:
        if self.connection is not None:
            with contextlib.suppress(OSError):  # it was closed already
                self.connection.shutdown(socket.SHUT_RDWR)
