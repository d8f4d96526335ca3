"""The connection: one repository on one GitHub, with bounded patience.

PyGithub speaks REST and GraphQL; streamed uploads and downloads go through `requests` itself, because PyGithub makes
their connections without a timeout and follows no redirect to another host. PyGithub's own retries are off: they
repeat a POST after a 5xx, and so write twice what arrived once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from github import Auth, BadAttributeException, Github, GithubException, IncompletableObject
from github.Repository import Repository

from entrypoint.github.errors import (
    ApiError,
    InvalidError,
    MissingError,
    RefusedError,
    ThrottledError,
    TooLargeError,
    UnavailableError,
)
from exporter import __version__
from exporter.results import ExportError

__all__ = ["Client", "Patience", "connect"]

T = TypeVar("T")

# What PyGithub raises over an answer of another shape, or a link to another host.
_NOT_THE_API = (
    AssertionError,
    AttributeError,
    BadAttributeException,
    IncompletableObject,
    KeyError,
    TypeError,
    ValueError,
)
_USER_AGENT = f"export-action/{__version__}"
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
# https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api: a secondary limit without
# `retry-after` asks for at least a minute, then longer each time.
_SECONDARY_LIMIT_WAIT = 60.0


@dataclass(frozen=True)
class Patience:
    """How long to put up with a slow or busy server; all times in seconds.

    Attributes:
        timeout: Without a byte from the server.
        upload_timeout: The same while a release asset goes up: GitHub answers only when it has stored it.
        attempts: Tries for a request before it counts as failed.
        backoff: Wait after the first failure; doubles with each further one.
        longest_wait: A rate limit that lasts longer is an error, not a wait.
        between_writes: GitHub asks for at least one second between writes.
    """

    timeout: int = 30
    upload_timeout: int = 300
    attempts: int = 5
    backoff: float = 1.0
    longest_wait: float = 180.0
    between_writes: float = 1.0


def connect(
    token: str,
    repository: str,
    api_url: str = "https://api.github.com",
    patience: Patience | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Client:
    """Prepare a connection to `repository` ("owner/name"); sends nothing yet.

    Proxies and certificates come from the environment (``HTTPS_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``).

    Args:
        api_url: ``GITHUB_API_URL``; ``https://HOST/api/v3`` on GitHub Enterprise Server.
        sleep: How to wait between attempts.

    Raises:
        ExportError: No token, or a repository or URL of the wrong form.
    """
    if not token:
        raise ExportError(
            "github-token",
            "There is no token for GitHub's API.",
            "Pass `token: ${{ github.token }}`, or leave the input out to get it by default.",
        )
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ExportError(
            "github-repository", f"{repository!r} is no repository.", "Write it as owner/name, like org/export-action."
        )
    url = urlsplit(api_url)
    if url.scheme not in ("https", "http") or not url.hostname:
        raise ExportError(
            "github-api-url",
            f"{api_url!r} is no URL of GitHub's API.",
            "GITHUB_API_URL is https://api.github.com, or https://HOST/api/v3 on GitHub Enterprise Server.",
        )
    return Client(token, repository, api_url.rstrip("/"), patience or Patience(), sleep)


class Client:
    """One repository on one GitHub. Use as a context manager, or `close` it.

    Attributes:
        repository: PyGithub's repository. Lazy: reading an attribute may send a request, so read inside `ask`.
        patience: How often and how long to try.
    """

    def __init__(
        self, token: str, repository: str, api_url: str, patience: Patience, sleep: Callable[[float], None]
    ) -> None:
        self.patience = patience
        self._token = token
        self._name = repository
        self._api_url = api_url
        self._sleep = sleep
        self._github = Github(
            auth=Auth.Token(token),
            base_url=api_url,
            timeout=patience.timeout,
            user_agent=_USER_AGENT,
            per_page=100,
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=patience.between_writes,
            lazy=True,
        )
        self.repository: Repository = self._github.get_repo(repository)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = _USER_AGENT
        # Without an auth of its own, requests would look for one in ~/.netrc.
        self._session.auth = _as_it_is

    def __repr__(self) -> str:
        return f"<Client {self._name} at {self._api_url}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._github.close()
        self._session.close()

    def ask(self, what: str, request: Callable[[], T]) -> T:
        """Do a request that may safely be done twice: a read, a change to a given state, a deletion.

        Args:
            what: For messages, completing "GitHub refused to ...".
            request: Does the request and reads all it needs of the answer.

        Raises:
            ApiError: After the last attempt, or at once where repeating can't help.
        """
        return self._repeat(what, request, (ThrottledError, UnavailableError))

    def create(self, what: str, request: Callable[[], T]) -> T:
        """Do a request that makes something new, at most once.

        Repeated only after a rate limit, which GitHub applies before it acts.

        Raises:
            UnavailableError: It may have arrived: look before trying again.
            ApiError: It did not.
        """
        return self._repeat(what, request, (ThrottledError,))

    def login(self) -> str:
        """Who the token is, as comments show it: ``github-actions[bot]``, ``my-app[bot]`` or a user.

        GraphQL's `viewer` answers for every kind of token. REST's ``GET /user`` refuses the tokens of apps, and
        ``GITHUB_TOKEN`` is one.
        """
        requester = self._github.requester

        def request() -> str:
            _, answer = requester.graphql_query("query { viewer { login } }", {})
            return str(answer["data"]["viewer"]["login"])

        return self.ask("say whose token this is", request)

    def download(self, what: str, url: str, most: int, accept: str = "application/octet-stream") -> bytes:
        """The body behind an API URL that answers itself or redirects to a file store.

        The token goes to the API alone, never to the store.

        Args:
            most: Bytes; more raises `TooLargeError` without reading on.
        """
        return self._repeat(what, lambda: self._fetch(what, url, most, accept), (ThrottledError, UnavailableError))

    def upload(self, what: str, url: str, content: BinaryIO, read: Callable[[Any], T]) -> T:
        """POST a stream as it is, once, and `read` the JSON that comes back.

        Raises:
            UnavailableError: It may have arrived, whole or in part: look before trying again.
            ApiError: It did not.
        """
        self._check_host(url)
        self._sleep(self.patience.between_writes)

        def request() -> T:
            content.seek(0)
            headers = self._authorization() | {"Content-Type": "application/octet-stream"}
            timeout = (self.patience.timeout, self.patience.upload_timeout)
            response = self._session.post(url, data=content, headers=headers, timeout=timeout, allow_redirects=False)
            self._raise_for_status(what, response)
            return read(response.json())

        return self._repeat(what, request, (ThrottledError,))

    def pause(self, attempt: int) -> None:
        """Wait before the next attempt; `attempt` counts from 1."""
        self._sleep(self._backoff(attempt))

    def _backoff(self, attempt: int) -> float:
        return min(self.patience.backoff * 2.0 ** (attempt - 1), self.patience.longest_wait)

    def _repeat(self, what: str, request: Callable[[], T], passing: tuple[type[ApiError], ...]) -> T:
        for attempt in range(1, self.patience.attempts + 1):
            try:
                return self._once(what, request)
            except ApiError as failure:
                if not isinstance(failure, passing) or attempt == self.patience.attempts:
                    raise
                wait = self._wait(failure, attempt)
                if wait > self.patience.longest_wait:
                    raise
                self._sleep(wait)
        raise AssertionError("patience.attempts is at least 1")

    def _wait(self, failure: ApiError, attempt: int) -> float:
        if not isinstance(failure, _LimitError):
            return self._backoff(attempt)
        return _SECONDARY_LIMIT_WAIT * 2.0 ** (attempt - 1) if failure.wait is None else failure.wait

    def _once(self, what: str, request: Callable[[], T]) -> T:
        # "from None" everywhere: the errors of requests carry the request, and with it the token.
        try:
            return request()
        except ApiError:
            raise
        except requests.RequestException as error:
            raise self._unreachable(what, error) from None
        except _NOT_THE_API as error:
            raise ApiError(
                f"{self._host} answered with something that is not GitHub's API when asked to {what} "
                f"({type(error).__name__}).",
                "Check GITHUB_API_URL, and whether a proxy puts a page of its own in between.",
            ) from error
        except GithubException as error:
            raise self._failure(what, error.status, error.headers or {}, _words(error.data)) from None
        except RuntimeError as error:
            # How PyGithub says that the server redirects to another address.
            raise ApiError(
                f"GitHub could not be asked to {what}: {self._clean(str(error))}.", "Check GITHUB_API_URL."
            ) from None

    def _fetch(self, what: str, url: str, most: int, accept: str) -> bytes:
        self._check_host(url)
        headers = self._authorization() | {"Accept": accept}
        for _ in range(_MOST_REDIRECTS):
            with self._session.get(
                url, headers=headers, timeout=self.patience.timeout, allow_redirects=False, stream=True
            ) as response:
                if response.status_code in _REDIRECTS and "Location" in response.headers:
                    url, headers = urljoin(url, response.headers["Location"]), {}
                    continue
                self._raise_for_status(what, response)
                return _read(what, response, most)
        raise ApiError(f"{self._host} redirected more than {_MOST_REDIRECTS} times when asked to {what}.")

    def _raise_for_status(self, what: str, response: requests.Response) -> None:
        if not 200 <= response.status_code < 300:
            try:
                said = response.json()
            except ValueError:
                said = None
            raise self._failure(what, response.status_code, response.headers, _words(said))

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _check_host(self, url: str) -> None:
        """The token goes to GitHub's hosts only, wherever an answer points."""
        ours, theirs = urlsplit(self._api_url), urlsplit(url)
        domain = (ours.hostname or "").removeprefix("api.")
        host = theirs.hostname or ""
        if theirs.scheme != ours.scheme or not (host == domain or host.endswith(f".{domain}")):
            raise ApiError(
                f"GitHub's API at {ours.hostname} points to {theirs.scheme}://{host}, which is not of the same site; "
                "the token was not sent there.",
                "Check GITHUB_API_URL.",
            )

    @property
    def _host(self) -> str:
        return urlsplit(self._api_url).netloc

    def _clean(self, text: str) -> str:
        return text.replace(self._token, "***")[:500]

    def _failure(self, what: str, status: int, headers: Mapping[str, Any], words: str) -> ApiError:
        headers = {name.lower(): value for name, value in headers.items()}
        said = self._clean(words)
        detail = f"{status} {said}".rstrip()
        if status == 429 or (status == 403 and _is_limit(headers, words)):
            return _LimitError(what, detail, _seconds_to_wait(headers), status)
        if status == 401:
            return RefusedError(
                f"GitHub did not accept the token when asked to {what} ({detail}).",
                "The token is wrong, revoked or expired; GITHUB_TOKEN ends with its job.",
                status=status,
                reason=said,
            )
        if status == 403:
            return RefusedError(f"GitHub refused to {what} ({detail}).", status=status, reason=said)
        if status in (404, 410):
            return MissingError(f"GitHub found nothing when asked to {what} ({detail}).", status=status, reason=said)
        if status >= 500:
            return UnavailableError(
                f"GitHub failed when asked to {what} ({detail}).",
                "This passes by itself most of the time: run the job again; see https://www.githubstatus.com.",
                status=status,
                reason=said,
            )
        return InvalidError(f"GitHub rejected the request to {what} ({detail}).", status=status, reason=said)

    def _unreachable(self, what: str, error: requests.RequestException) -> ApiError:
        asked = f"when asked to {what}"
        if isinstance(error, requests.exceptions.SSLError):
            return ApiError(
                f"The certificate of {self._host} was not trusted {asked}.",
                "Where GitHub has a certificate of your own authority, name its file in REQUESTS_CA_BUNDLE.",
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return UnavailableError(
                f"The proxy in front of {self._host} gave no connection {asked}.",
                "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the runner.",
            )
        if isinstance(error, requests.exceptions.Timeout):
            cause = f"{self._host} gave no answer in time {asked}."
        else:
            cause = f"The connection to {self._host} broke {asked}."
        return UnavailableError(cause, "This passes by itself most of the time: run the job again.")


class _LimitError(ThrottledError):
    """`ThrottledError`, with the seconds that GitHub asks to wait; None where it doesn't say."""

    def __init__(self, what: str, detail: str, wait: float | None, status: int) -> None:
        told = "" if wait is None else f" It asks to wait {wait:.0f} s."
        super().__init__(
            f"GitHub's rate limit kept us from the request to {what} ({detail}).{told}",
            "Run the job again later; several workflows share the limit of a repository's token.",
            status=status,
            reason=detail,
        )
        self.wait = wait


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read(what: str, response: requests.Response, most: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(chunk_size=1 << 16):
        body += chunk
        if len(body) > most:
            raise TooLargeError(f"What came back when asked to {what} is larger than {most:,} bytes; it was not read.")
    return bytes(body)


def _words(data: Any) -> str:
    """What an error answer says: its message, then those of its `errors`, on one line."""
    if not isinstance(data, Mapping):
        return ""
    parts: list[Any] = [data.get("message")]
    errors = data.get("errors")
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, Mapping):
            parts.append(error.get("message") or " ".join(str(error[key]) for key in ("field", "code") if key in error))
        else:
            parts.append(error)
    return "; ".join(_one_line(parts))


def _one_line(parts: Iterable[Any]) -> list[str]:
    return [" ".join(str(part).split()) for part in parts if part]


def _is_limit(headers: Mapping[str, Any], words: str) -> bool:
    return "retry-after" in headers or str(headers.get("x-ratelimit-remaining")) == "0" or "rate limit" in words.lower()


def _seconds_to_wait(headers: Mapping[str, Any]) -> float | None:
    """By `retry-after`, else until `x-ratelimit-reset` where nothing is left, else unknown.

    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
    """
    after = str(headers.get("retry-after", ""))
    if after.isdigit():
        return float(after)
    reset = str(headers.get("x-ratelimit-reset", ""))
    if str(headers.get("x-ratelimit-remaining")) == "0" and reset.isdigit():
        return max(0.0, int(reset) - time.time()) + 1.0
    return None
