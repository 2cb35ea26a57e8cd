"""Why somebody was not let in through the provider: one word for the audit, one sentence for the person."""

from rm.errors import RmError

AGAIN = "Start again from the sign-in page."
ASK = "Ask the people who run restic-manager; the reason is in its log and audit."
LATER = "Try again in a moment. Who has a password here can sign in with it meanwhile."

_SAID = {
    "not_set_up": ("There is no account on this server yet.", "Create the first administrator with the setup link."),
    "no_such_sign_in": ("This sign-in is over: it was used already, took too long, or never began here.", AGAIN),
    "other_browser": ("This sign-in was not begun in this browser, or another one was begun since.", AGAIN),
    "denied": ("The provider did not sign you in.", AGAIN),
    "not_an_answer": ("The provider's answer was incomplete.", AGAIN),
    "other_issuer": ("The answer came from another provider than the one that was asked.", ASK),
    "code_refused": ("The provider did not accept its own answer.", AGAIN),
    "bad_token": ("What the provider says about you could not be verified.", ASK),
    "other_person": ("The provider spoke of two different people.", ASK),
    "no_role": (
        "The provider knows you, but none of your groups or roles there may use restic-manager.",
        "Ask the people who run the provider for access, then sign in again.",
    ),
    "bad_name": ("The name that the provider gives you cannot be used here.", ASK),
    "name_taken": (
        "There is an account of your name here that does not belong to the provider.",
        "Sign in with its password if it is yours. An administrator can remove it, or your name at the provider "
        "can change; accounts are never joined by name.",
    ),
    "disabled": ("Your account here is disabled.", "Ask an administrator to enable it."),
    "last_admin": (
        "The provider no longer makes you administrator, but you are the last one here with a password; "
        "nothing was changed.",
        "Make another person administrator first, or sign in with your password.",
    ),
    "too_many_users": ("There are too many accounts here for another one.", "Ask an administrator to remove old ones."),
}


class SignInRefused(RmError):
    """Somebody is not let in; `reason` is for the audit and `detail` for the log, neither holds a secret."""

    status = 403
    code = "sign_in_refused"

    def __init__(self, reason: str, detail: str = "") -> None:
        message, help = _SAID[reason]
        super().__init__(message, help=help)
        self.reason = reason
        self.detail = detail


class ProviderAway(SignInRefused):
    """The provider does not answer as a provider does; `detail` says what it did."""

    status = 503
    code = "provider_away"

    def __init__(self, detail: str) -> None:
        RmError.__init__(self, "The sign-in provider cannot be reached just now, or is not set up rightly.", help=LATER)
        self.reason = "provider_away"
        self.detail = detail
