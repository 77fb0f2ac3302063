"""The route of one entry: the addresses to try, and where a redirection leads.

These are rules, like those of `addresses`.
"""

from collections import deque
from collections.abc import Sequence

from aiomqtt.exceptions import MqttError
from aiomqtt.net.target import Target

from .addresses import Addresses, Failures, Step, is_final, is_redirection


class Route:
    """The addresses that an entry has not tried yet, and those that have failed.

    Args:
        addresses: The addresses of the client.

    Attributes:
        untried: The addresses to try, in order.
        failures: The attempts that have failed, after which it went on.
        ignored: Why the redirection that ended the last connection is not followed; "":
            it is, or there was none.
    """

    def __init__(self, addresses: Addresses) -> None:
        # All is valid for the entry.
        self._addresses = addresses
        self.untried: deque[Step] = deque(addresses.next_round())
        self.failures: Failures = Failures()
        self.ignored: str = ""
        # Those that were tried, or that redirected.
        self._visited: set[tuple[str, int]] = set()
        # The ports of those to which no redirection led: of the program and of its DNS.
        self._ports: set[int] = set()
        redirection = addresses.take_redirection()
        if redirection is not None and addresses.redirect != "raise":
            step, error = redirection
            self._visit(step)
            self.ignored = self._redirect(step, error)

    def next(self) -> Step:
        """Return the next address to try."""
        step = self.untried.popleft()
        self._visit(step)
        return step

    def _visit(self, step: Step) -> None:
        self._visited.add(step.target.address)
        if not step.hops:
            self._ports.add(step.target.port)

    def expand(self, step: Step, targets: Sequence[Target]) -> None:
        """Replace a domain by its brokers, which come next."""
        self.untried.extendleft(Step(one, step.origin) for one in reversed(targets))

    def goes_on_after(self, step: Step, error: MqttError) -> bool:
        """Note that an attempt has failed; return whether to try the next address.

        A redirection that may be followed puts its addresses before the others. One
        that may not is the failure of this address, and its error says why.
        """
        if is_redirection(error):
            if self._addresses.redirect == "raise":
                return False
            reason = self._redirect(step, error)
            if reason:
                from .redirection import add_reason

                add_reason(error, reason)
        elif is_final(error):
            return False
        self.failures.add(str(step.target), error)
        return True

    def _redirect(self, step: Step, error: MqttError) -> str:
        """Go to the servers that a broker named; return why not, or "" if it does."""
        from . import redirection as rules

        if step.hops == rules.MAXIMUM_HOPS:
            return f"there were {step.hops} redirections before it"
        if "port" not in step.origin.arguments:
            return f"transport {step.origin.transport!r} leads to no other server"
        redirect = rules.to_redirect(step.target, error)
        if redirect is None:
            return "it names no server in a form such as name:1883 or [::1]:1883"
        policy, origins = self._addresses.redirect, self._addresses.targets
        if callable(policy):
            allowed = rules.choose_addresses(policy, redirect)
            reason = "the program's function allows no server of it"
        else:
            ports = rules.allowed_ports(origins) | self._ports
            allowed = [address for address in redirect.addresses if address[1] in ports]
            reason = f"of its ports none is among {sorted(ports)}"
        if not allowed:
            return reason
        is_permanent = redirect.is_permanent and step.is_permanent
        steps = [
            Step(
                step.origin.moved_to(*address),
                step.origin,
                step.hops + 1,
                address if is_permanent else step.moved_to,
                is_permanent,
            )
            for address in allowed
        ]
        return self._put_first(steps)

    def _put_first(self, steps: list[Step]) -> str:
        """Try these addresses next, each once; return why not, or ""."""
        new = {
            step.target.address: step
            for step in steps
            if step.target.address not in self._visited
        }
        if not new:
            return "it leads back to a server that was tried before"
        others = [step for step in self.untried if step.target.address not in new]
        self.untried = deque([*new.values(), *others])
        return ""
