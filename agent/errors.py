"""What stops the agent and is told to a person in one sentence."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_RESTART = 75
EXIT_CONFIGURATION = 78


class AgentError(Exception):
    """Something failed in a way that a person can understand; `exit_code` is what the process ends with."""

    exit_code = EXIT_FAILED


class ConfigurationError(AgentError):
    """The configuration, the enrolment or the machine must be changed before the agent can run."""

    exit_code = EXIT_CONFIGURATION
