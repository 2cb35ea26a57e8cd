#!/bin/sh
# Installs, repairs or removes the agent of restic-manager on this host. The server fills its own address in.
#
#   install.sh [--repair | --uninstall] [--allow-hooks] [--allow-restore-in-place] [--writable DIR]...
#
# In the environment, or as lines before this one, so that no secret is in an argument list:
#   RM_TOKEN         enrolment token; without it the host must be enrolled, or it announces itself for approval
#   RM_PROXY         http://[user:password@]proxy:port      RM_NO_PROXY   hosts that need no proxy, with commas
#   RM_CA_FILE       the certificate of the server's private CA
#   RM_INSTALL_ROOT  for trying it out: keep everything below this directory, without root and without systemd
#
# Written for any POSIX sh. Everything is inside functions; the last line calls them, so that a download which is cut
# off does nothing.

say() { printf '%s\n' "$*"; }
note() { printf '  - %s\n' "$*"; }
die() {
    printf '\ninstall.sh: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '    %s\n' "$line" >&2; done
    exit 1
}

rm_settings() {
    server=@SERVER@
    service=rm-agent.service
    if [ -n "${RM_INSTALL_ROOT:-}" ]; then
        case $RM_INSTALL_ROOT in
        /*) ;;
        *) die "RM_INSTALL_ROOT must be an absolute path, not $RM_INSTALL_ROOT." ;;
        esac
        root=$RM_INSTALL_ROOT
        lib=$root/bin config=$root/etc/agent.toml state=$root/state restore=$root/restore
        link='' unit='' trial_path='' trial_service=''
    else
        root=''
        lib=/usr/local/lib/restic-manager config=/etc/restic-manager/agent.toml
        state=/var/lib/restic-manager-agent restore=/var/restic-manager/restore
        link=/usr/local/bin/rm-agent unit=/etc/systemd/system/$service
        trial_path=/etc/systemd/system/rm-agent-trial.path trial_service=/etc/systemd/system/rm-agent-trial.service
    fi
    hooks_directory=${config%/*}/hooks.d
    agent=$lib/rm-agent
    guard=$lib/rm-agent-guard
    writable_file=$unit.d/10-writable.conf
    stage='' stopped='' changed='' enrolled='' had_agent='' had_config='' had_state=''
}

rm_options() {
    action=install hooks='' in_place='' writable=''
    while [ $# -gt 0 ]; do
        case $1 in
        --repair) action=repair ;;
        --uninstall) action=uninstall ;;
        --allow-hooks) hooks=server ;;
        --allow-restore-in-place) in_place=true ;;
        --writable)
            shift
            case ${1:-} in
            /*) ;;
            *) die "--writable needs an absolute path, for example --writable /srv/backup." ;;
            esac
            case $1 in
            *[!A-Za-z0-9/._+@:-]*) die "--writable $1: use letters, digits and / . _ + @ : - only." ;;
            esac
            [ -d "$1" ] || die "--writable $1: there is no such directory. Make it first: mkdir -p $1"
            writable="$writable $1"
            ;;
        *) die "$1 is not understood." \
            "usage: install.sh [--repair | --uninstall] [--allow-hooks] [--allow-restore-in-place] [--writable DIR]" ;;
        esac
        shift
    done
    [ -n "$root" ] || [ "$(id -u)" = 0 ] ||
        die "Only root can install the agent: a backup must be able to read every file." \
            "Put sudo before the last sh of the line, or become root first." \
            "To try it out as you are: RM_INSTALL_ROOT=\$HOME/rm-agent in place of sudo."
}

# ---- what this host is and has ---------------------------------------------------------------------------

rm_host() {
    [ "$(uname -s)" = Linux ] || die "This installs on Linux; this is $(uname -s)."
    case $(uname -m) in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) arch=$(uname -m) ;;
    esac
    if [ -n "$root" ]; then
        init=guard
    elif [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
        init=systemd
    else
        init=guard
    fi
}

# What installs a package here; `$1` is its name.
rm_package() {
    for tool in apt-get dnf apk zypper pacman; do
        command -v "$tool" >/dev/null 2>&1 || continue
        case $tool:$1 in
        dnf:python3) say "dnf install python3.11" ;;
        zypper:python3) say "zypper install python311" ;;
        pacman:python3) say "pacman -S python" ;;
        apk:*) say "apk add $1" ;;
        pacman:*) say "pacman -S $1" ;;
        *) say "$tool install $1" ;;
        esac
        return
    done
    say "install $1 with your system's package manager"
}

# The interpreter behind a name, if it can run the agent; behind it, because the name may be a version manager's script.
rm_python_behind() {
    "$1" -I -c 'import sys, ssl, sqlite3, hashlib, urllib.request
sys.version_info < (3, 10) and sys.exit(1)
print(sys.executable)' 2>/dev/null
}

# The newest python3.N that can run the agent, as an absolute path.
rm_find_python() {
    python=''
    minor=40
    while [ "$minor" -ge 10 ]; do
        found=$(command -v "python3.$minor" 2>/dev/null) && python=$(rm_python_behind "$found") && return
        minor=$((minor - 1))
    done
    found=$(command -v python3 2>/dev/null) && python=$(rm_python_behind "$found") && return
    older=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
    die "The agent needs Python 3.10 or newer with ssl and sqlite3, and there is none${older:+ (only $older)}." \
        "Install it beside what is there, then run this again:" "$(rm_package python3)"
}

rm_look_for_restic() {
    for found in "$lib/restic" "$(command -v restic 2>/dev/null)" /usr/local/bin/restic /usr/bin/restic; do
        [ -x "$found" ] && say "restic: $found ($("$found" version 2>/dev/null | head -n 1))" && return
    done
    say "restic is not installed yet. The agent finds it by itself as soon as it is there:"
    note "$(rm_package restic)"
    note "or unpack a release of restic to /usr/local/bin/restic"
}

# Other backups of this host are named, never touched.
rm_other_backups() {
    words='restic|borgmatic|resticprofile|autorestic|backrest'
    ways=''
    if [ "$init" = systemd ]; then
        for file in /etc/systemd/system/*.timer /etc/systemd/system/*.service /usr/local/lib/systemd/system/*.timer \
            /usr/lib/systemd/system/*.timer /lib/systemd/system/*.timer \
            /usr/lib/systemd/system/*.service /lib/systemd/system/*.service; do
            [ -f "$file" ] && rm_other_unit "$file"
        done
    fi
    for file in /etc/crontab /etc/cron.d/* /var/spool/cron/crontabs/* /var/spool/cron/*; do
        [ -f "$file" ] || continue
        # Only the line's number: the line itself may hold a password.
        case $file in
        # The numbers that an editor shows: crontab hides lines of its own.
        /var/spool/cron/*) crontab -u "${file##*/}" -l 2>/dev/null || cat "$file" ;;
        *) cat "$file" ;;
        esac | grep -nE "^[[:space:]]*[^#[:space:]].*($words)" | cut -d: -f1 >"$stage/lines"
        while read -r number; do
            case $file in
            /var/spool/cron/*)
                rm_way "cron of user ${file##*/}, line $number" "crontab -u ${file##*/} -e   # put a # before line $number" ;;
            *) rm_way "$file, line $number" "sed -i '${number}s/^/#/' $file" ;;
            esac
        done <"$stage/lines"
    done
    for file in /etc/cron.hourly/* /etc/cron.daily/* /etc/cron.weekly/* /etc/cron.monthly/* /etc/periodic/*/*; do
        [ -x "$file" ] && [ -f "$file" ] && grep -qE "^[^#]*($words)" "$file" && rm_way "$file" "chmod a-x $file"
    done
    [ -n "$ways" ] || return 0
    say ""
    say "Other backups run on this host. They go on as they are; nothing was changed. Once this host's own backups"
    say "have succeeded, turn each of them off with the command behind it:"
    printf '%s' "$ways"
}

rm_way() {
    ways="$ways  - $1:   $2
"
}

rm_other_unit() {
    name=${1##*/}
    case $name in
    rm-agent*) return ;;
    esac
    case $ways in
    *" $name:"*) return ;;
    esac
    case $name in
    *.timer)
        # A timer is told apart by its own text or by that of the service it starts.
        starts=$(sed -n 's/^Unit=//p' "$1" | head -n 1)
        starts=${starts:-${name%.timer}.service}
        { cat "$1" && systemctl cat "$starts" 2>/dev/null; } | grep -qE "^[^#]*($words)" || return
        ;;
    *) sed -n '/^Exec/p' "$1" | grep -qE "$words" || return ;;
    esac
    case $name:$(systemctl is-enabled "$name" 2>/dev/null) in
    *:enabled*) ;;
    # One that runs although nothing is to start it: a service is then its timer's.
    *.service:static) return ;;
    *) systemctl is-active --quiet "$name" 2>/dev/null || return ;;
    esac
    rm_way "systemd unit $name" "systemctl disable --now $name"
}

# ---- fetching --------------------------------------------------------------------------------------------

# Python fetches, because it has to be here anyhow, and its TLS and proxy are then those of the agent. Secrets come by
# the environment, which only root can read, and no redirect is followed with them.
rm_fetch_program() {
    cat <<'PYTHON'
import hashlib, json, os, socket, ssl, sys, time, urllib.error, urllib.request

server, path, target = sys.argv[1:]
proxy, ca_file, token = (os.environ.get(name, "") for name in ("RM_PROXY", "RM_CA_FILE", "RM_BEARER"))
os.environ["no_proxy"] = os.environ.get("RM_NO_PROXY", "")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, answer, code, text, headers, url):
        print(f"{server} redirects to {url[:200]}. Use the line of the page that you open under that address.")
        sys.exit(1)


def explain(error):
    reason = getattr(error, "reason", error)
    text = str(reason)
    shown = proxy.rpartition("@")[2] or "the proxy"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"The TLS certificate of {server} is not trusted ({reason.verify_message}).\n"
            "If the server has a private CA, name its certificate: RM_CA_FILE=/path/to/ca.pem"
        )
    if "Tunnel connection failed" in text:
        return f"The proxy {shown} did not let the connection through ({text}).\nCheck RM_PROXY: http://user:password@proxy:port"
    if isinstance(reason, socket.gaierror):
        return f"The name of {'the proxy or of ' if proxy else ''}{server} cannot be resolved. Check the address and DNS."
    if isinstance(reason, ConnectionRefusedError):
        return f"{'The proxy ' + shown if proxy else server} refuses connections. Is it running, and the port right?"
    return f"{server} cannot be reached: {text}"


def refused(error):
    try:
        told = json.loads(error.read(65536))["error"]
        said = " ".join(filter(None, (told.get("message"), told.get("help"))))
        code = told.get("code", "")
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        if error.code == 407:
            return "The proxy wants a user and a password. Set RM_PROXY=http://user:password@proxy:port"
        return f"{server} does not answer like a restic-manager server (HTTP {error.code}). Check the address."
    if error.code == 401:
        return "unauthorised: The server does not know the token of this line. Make a new line: Add host, in the server's pages."
    if error.code in (410, 403):
        return f"{said or code} Make a new line: Add host, in the server's pages."
    if error.code == 429:
        return f"Too many downloads from this address; try again in {error.headers.get('Retry-After', '60')} s."
    return f"The server refused the download (HTTP {error.code} {code}). {said}"


def fetch():
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context),
        urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {}),
        NoRedirect(),
    )
    request = urllib.request.Request(server + path)
    if token:
        request.add_unredirected_header("Authorization", "Bearer " + token)
    seen = hashlib.sha256()
    with opener.open(request, timeout=30) as answer, open(target, "wb") as file:
        while data := answer.read(65536):
            seen.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        told = (answer.headers.get("ETag") or "").removeprefix("W/").strip('"')
    if len(told) != 64:
        return f"{server} does not answer like a restic-manager server (no hash came with the agent). Check the address."
    if told != seen.hexdigest():
        return "The agent arrived damaged: its sha256 is not the one that the server told. Run the line again."
    print(told)
    return None


for attempt in (1, 2, 3):
    try:
        problem = fetch()
        break
    except urllib.error.HTTPError as error:
        problem = refused(error)
        break
    except ssl.SSLError as error:
        problem = explain(error)
        if ca_file and not isinstance(error, ssl.SSLCertVerificationError):
            problem = f"RM_CA_FILE={ca_file} holds no certificate that can be used ({error})."
        break
    except OSError as error:
        if getattr(error, "filename", None) == ca_file and ca_file:
            problem = f"RM_CA_FILE={ca_file} cannot be read: {error.strerror}."
            break
        if getattr(error, "errno", None) == 28:
            problem = f"There is no room for the agent: {target} cannot be written."
            break
        problem = explain(error)
        if attempt < 3 and not isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            time.sleep(attempt)
            continue
        break
if problem:
    # Not to a file: the disk may be what is full.
    print(problem)
    sys.exit(1)
PYTHON
}

rm_fetch() {
    RM_BEARER=$1 RM_PROXY=${RM_PROXY:-} RM_NO_PROXY=${RM_NO_PROXY:-} RM_CA_FILE=${RM_CA_FILE:-} \
        "$python" -I -c "$(rm_fetch_program)" "$server" "/agent/binary?os=linux&arch=$arch" "$stage/rm-agent" 2>&1
}

# One text value of the host's own JSON or TOML files, empty where there is none.
rm_value() {
    "$python" -I - "$1" "$2" <<'PYTHON' 2>/dev/null
import json, re, sys

path, name = sys.argv[1:]
text = open(path, encoding="utf-8").read()
if path.endswith(".json"):
    value = json.loads(text).get(name, "")
else:
    found = re.search(rf"""(?m)^\s*{name}\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|true|false)""", text.split("\n[")[0])
    told = found[1] if found else '""'
    value = told[1:-1] if told.startswith("'") else json.loads(told)
print(str(value).lower() if isinstance(value, bool) else value)
PYTHON
}

# Sets one top-level value of agent.toml; every other line stays as the owner wrote it. The value comes by the
# environment, because a proxy's password must be in no argument list.
rm_set() {
    [ "$(rm_value "$config" "$1")" != "$2" ] || return 0
    changed=yes
    RM_VALUE=$2 "$python" -I - "$config" "$1" <<'PYTHON' || die "$config cannot be changed."
import json, os, sys

path, name = sys.argv[1:]
value = os.environ["RM_VALUE"]
line = f"{name} = {value if value in ('true', 'false') else json.dumps(value, ensure_ascii=False)}"
lines = open(path, encoding="utf-8").read().splitlines() if os.path.exists(path) else []
table = next((i for i, text in enumerate(lines) if text.lstrip().startswith("[")), len(lines))
at = next((i for i in range(table) if lines[i].partition("=")[0].strip() == name), None)
if at is None:
    lines.insert(table, line)
else:
    lines[at] = line
handle = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
with open(handle, "w", encoding="utf-8") as file:
    file.write("\n".join(lines) + "\n")
    file.flush()
    os.fsync(file.fileno())
os.replace(path + ".new", path)
PYTHON
}

# ---- installing ------------------------------------------------------------------------------------------

# However this ends: what was fetched is removed, and after a failure an earlier agent is as it was, or, where there
# was none, nothing is left.
rm_tidy() {
    code=$?
    trap - EXIT HUP INT TERM
    if [ "$code" != 0 ] && [ -z "$enrolled" ]; then
        [ -n "$had_config" ] || rm -f "$config"
        [ ! -f "$stage/config.before" ] || cp -p "$stage/config.before" "$config"
        [ -n "$had_state" ] || rm -rf "$state"
    fi
    [ -z "$stage" ] || rm -rf "$stage"
    if [ "$code" != 0 ]; then
        [ -n "$had_agent" ] || rmdir "$lib" "$hooks_directory" "${config%/*}" "$restore" "${restore%/*}" 2>/dev/null
        [ -z "$stopped" ] || { rm_start_again && say "The agent that was here before runs again." >&2; }
    fi
    exit "$code"
}

rm_run_agent() {
    # The program that was fetched, or the one that is installed.
    program=$1
    shift
    if [ -n "$root" ]; then
        "$python" -I "$program" --root "$root" "$@"
    else
        "$python" -I "$program" "$@"
    fi
}

rm_make_directories() {
    if ! { (umask 022 && mkdir -p "$lib" "$hooks_directory" "${restore%/*}") && (umask 077 && mkdir -p "$state" "$restore") &&
        chmod 755 "$lib" && chmod 700 "$state" "${config%/*}" "$restore"; }; then
        die "The directories of the agent cannot be made; is the file system read-only or full?"
    fi
}

rm_take_settings() {
    enrolled_at=$(rm_value "$state/secrets.json" server)
    credential=$(rm_value "$state/secrets.json" credential)
    # What the owner set before holds unless this line says otherwise.
    RM_PROXY=${RM_PROXY:-$(rm_value "$config" proxy)}
    RM_NO_PROXY=${RM_NO_PROXY:-$(rm_value "$config" no_proxy)}
    RM_CA_FILE=${RM_CA_FILE:-$(rm_value "$config" ca_file)}
    [ -z "$RM_CA_FILE" ] || [ -r "$RM_CA_FILE" ] || die "RM_CA_FILE=$RM_CA_FILE cannot be read."
    case $RM_CA_FILE in
    '' | /*) ;;
    *) die "RM_CA_FILE must be an absolute path, not $RM_CA_FILE." ;;
    esac
    if [ -n "$enrolled_at" ] && [ "$enrolled_at" != "$server" ]; then
        die "This host is enrolled at $enrolled_at, not at $server." \
            "To move it here, remove that agent first and run this line again:" "rm-agent uninstall"
    fi
    if [ -z "$credential" ] && [ -e "$state/secrets.json" ] && [ -z "${RM_TOKEN:-}" ]; then
        die "$state/secrets.json is damaged; it was left untouched." \
            "Put a good copy back and run this again, or run a line with a new token from the server's pages."
    fi
}

# Fetch the agent, and find out whether this host has to be enrolled.
rm_download() {
    enrol=''
    if [ -z "$credential" ]; then
        enrol=new
    elif ! told=$(rm_fetch "$credential"); then
        case $told in
        unauthorised:*) enrol=again ;;
        *) die "$told" ;;
        esac
    fi
    if [ -n "$enrol" ] && { [ "$enrol" = new ] || [ -n "${RM_TOKEN:-}" ]; }; then
        told=$(rm_fetch "${RM_TOKEN:-}") || die "${told#unauthorised: }"
    fi
    if [ -f "$stage/rm-agent" ]; then
        chmod 755 "$stage/rm-agent"
        told=$(rm_run_agent "$stage/rm-agent" version 2>&1) ||
            die "The agent that was fetched cannot run here; nothing was changed." "$told"
    fi
    if [ -z "$enrol" ]; then
        told=$(rm_run_agent "$stage/rm-agent" selftest 2>&1) ||
            die "The agent that was fetched cannot run here; nothing was changed." "$told"
        # Downloads may be open to everybody; only the handshake tells whether the credential is still good.
        if rm_run_agent "$stage/rm-agent" doctor 2>&1 | grep -q '^failed *credential: the server does not accept'; then
            enrol=again
        elif [ "$action" = repair ] && [ -n "${RM_TOKEN:-}" ]; then
            enrol=again
        elif [ -n "${RM_TOKEN:-}" ]; then
            say "This host is enrolled here already; the token was not used (with --repair it is)."
        fi
    fi
    if [ "$enrol" = again ] && [ -z "${RM_TOKEN:-}" ]; then
        die "The server does not accept this host's credential any more." \
            "Make a new line on this host's page and run that; its history is kept."
    fi
}

rm_write_settings() {
    [ ! -f "$config" ] || cp -p "$config" "$stage/config.before"
    rm_set server "$server"
    rm_set proxy "$RM_PROXY"
    rm_set no_proxy "$RM_NO_PROXY"
    rm_set ca_file "$RM_CA_FILE"
    [ -z "$hooks" ] || rm_set hooks server
    [ -z "$in_place" ] || rm_set restore_in_place true
    # A run without the option takes nothing of the owner's back.
    hooks=$(rm_value "$config" hooks)
    in_place=$(rm_value "$config" restore_in_place)
}

rm_enrol() {
    set -- --server "$server"
    if [ -n "${RM_TOKEN:-}" ]; then
        # Secrets that cannot be understood are moved aside, never overwritten.
        aside=''
        if [ "$enrol" = new ] && [ -e "$state/secrets.json" ]; then
            aside=$state/secrets.json.damaged
            mv "$state/secrets.json" "$aside"
        fi
        [ "$enrol" != again ] || set -- "$@" --force
        export RM_TOKEN
        if ! rm_run_agent "$stage/rm-agent" enroll "$@" >"$stage/said" 2>&1; then
            [ -z "$aside" ] || mv "$aside" "$state/secrets.json"
            die "This host was not enrolled; nothing was installed." "$(sed 's/^rm-agent: //' "$stage/said")"
        fi
        say "Enrolled at $server."
        [ -z "$aside" ] || say "The damaged secrets are kept as $aside."
    elif rm_run_agent "$stage/rm-agent" announce --help >/dev/null 2>&1; then
        say "No token was given: this host announces itself. Approve it in the server's pages if the fingerprint is this:"
        rm_run_agent "$stage/rm-agent" announce "$@" || die "This host was not let in; nothing was installed."
    else
        die "RM_TOKEN is missing." "Copy the whole line from the server's page: Add host."
    fi
    enrolled=yes
    changed=yes
}

rm_guard_text() {
    cat <<'RM_GUARD_ENDS_HERE'
@GUARD@
RM_GUARD_ENDS_HERE
}

rm_unit_text() {
    cat <<'RM_UNIT_ENDS_HERE'
@UNIT@
RM_UNIT_ENDS_HERE
}

rm_trial_path_text() {
    cat <<'RM_UNIT_ENDS_HERE'
@TRIAL_PATH@
RM_UNIT_ENDS_HERE
}

rm_trial_service_text() {
    cat <<'RM_UNIT_ENDS_HERE'
@TRIAL_SERVICE@
RM_UNIT_ENDS_HERE
}

# What of the file system the agent may write, by what its owner allows.
rm_files_lines() {
    if [ "$in_place" = true ]; then
        say "# --allow-restore-in-place: a restore may write anywhere."
    elif [ "$hooks" = server ]; then
        say "# --allow-hooks: hooks may write outside the system's own directories."
        say "ProtectSystem=full"
        say "ReadWritePaths=$lib"
    else
        say "ProtectSystem=strict"
        say "# strict leaves /home and /root out."
        say "ProtectHome=read-only"
        say "ReadWritePaths=$lib $state -$restore"
    fi
}

rm_write_stage() {
    rm_guard_text >"$stage/rm-agent-guard"
    chmod 755 "$stage/rm-agent-guard"
    rm_files_lines >"$stage/files"
    rm_unit_text | rm_fill_in >"$stage/unit"
    rm_trial_path_text | rm_fill_in >"$stage/trial_path"
    rm_trial_service_text | rm_fill_in >"$stage/trial_service"
    chmod 644 "$stage/unit" "$stage/trial_path" "$stage/trial_service"
}

rm_fill_in() {
    guard_version=$(sed -n 's/^GUARD_VERSION=//p' "$stage/rm-agent-guard")
    sed -e "s|@PYTHON@|$python|g" -e "s|@LIB@|$lib|g" -e "s|@STATE@|$state|g" -e "s|@SERVER@|$server|g" \
        -e "s|@GUARD_VERSION@|$guard_version|g" -e "/^@FILES@\$/{r $stage/files" -e 'd;}'
}

# Rename $1 to $2 unless $2 holds the same already.
rm_place() {
    if cmp -s "$1" "$2" && [ "$action" != repair ]; then
        return 0
    fi
    changed=yes
    # Through a name in the target's own directory, so that what appears there is always whole.
    cp -p "$1" "$2.new" && sync "$2.new" 2>/dev/null
    mv -f "$2.new" "$2" || die "$2 cannot be written."
}

rm_is_new() {
    ! cmp -s "$stage/rm-agent" "$agent" || ! cmp -s "$stage/rm-agent-guard" "$guard" ||
        { [ "$init" = systemd ] && rm_has_new_units; } || [ -n "$changed" ] || [ "$action" = repair ]
}

rm_has_new_units() {
    ! cmp -s "$stage/unit" "$unit" || ! cmp -s "$stage/trial_path" "$trial_path" ||
        ! cmp -s "$stage/trial_service" "$trial_service"
}

# Another program was on trial; this one was chosen by a person.
rm_end_trial() {
    (cd "$state/update" 2>/dev/null &&
        rm -f hello ask_revert limit_s expired ticks stop_ordered reverting unreadable trial committed)
}

rm_place_all() {
    # A program that is replaced under its own feet imports the wrong modules: it is stopped first.
    ! rm_is_new || rm_stop
    replaces=''
    cmp -s "$stage/rm-agent" "$agent" || replaces=yes
    rm_place "$stage/rm-agent" "$agent"
    [ -z "$replaces" ] || rm_end_trial
    rm_place "$stage/rm-agent-guard" "$guard"
    if [ -n "$link" ] && [ "$(readlink "$link" 2>/dev/null)" != "$agent" ]; then
        mkdir -p "${link%/*}" && ln -sf "$agent" "$link"
        changed=yes
    fi
    if [ "$init" = systemd ]; then
        rm_place "$stage/unit" "$unit"
        rm_place "$stage/trial_path" "$trial_path"
        rm_place "$stage/trial_service" "$trial_service"
        if [ -n "$writable" ]; then
            mkdir -p "$unit.d"
            { say "[Service]" && for directory in $writable; do say "ReadWritePaths=$directory"; done; } >"$stage/writable"
            rm_place "$stage/writable" "$writable_file"
        fi
    fi
}

rm_start() {
    if [ "$init" = systemd ]; then
        if ! systemctl daemon-reload ||
            ! systemctl enable --quiet "$service" "${trial_path##*/}" 2>"$stage/why" ||
            ! systemctl restart "${trial_path##*/}" 2>"$stage/why"; then
            die "systemd does not take the unit:" "$(cat "$stage/why")"
        fi
        systemctl reset-failed "$service" 2>/dev/null
        if [ -n "$changed" ]; then
            systemctl restart "$service"
        else
            systemctl start "$service"
        fi || die "The agent does not start." "Look at: journalctl -u rm-agent -n 50"
        stopped=''
        return
    fi
    if rm_guard_runs; then
        [ -n "$changed" ] || return 0
        rm_stop_guard
    fi
    rm_start_guard
}

rm_stop() {
    if [ "$init" = systemd ]; then
        case $(systemctl is-active "$service") in
        # It may be between two starts.
        active | activating | reloading) systemctl stop "$service" && stopped=yes ;;
        esac
    elif rm_guard_runs; then
        rm_stop_guard
        stopped=yes
    fi
    return 0
}

rm_start_again() {
    if [ "$init" = systemd ]; then systemctl start "$service"; else rm_start_guard; fi
}

rm_start_guard() {
    if [ -n "$root" ]; then
        set -- "$guard" --root "$root" run -- "$python" -I "$agent" --root "$root" run
    else
        set -- "$guard" run -- "$python" -I "$agent" run
    fi
    RM_PYTHON=$python setsid "$@" </dev/null >>"$state/agent.log" 2>&1 &
    echo $! >"$lib/guard.pid"
    stopped=''
}

rm_guard_runs() {
    # The number may be another process's by now.
    running=$(cat "$lib/guard.pid" 2>/dev/null) && [ -n "$running" ] &&
        grep -q rm-agent-guard "/proc/$running/cmdline" 2>/dev/null
}

rm_stop_guard() {
    rm_guard_runs || return 0
    kill "$running"
    ticks=0
    while kill -0 "$running" 2>/dev/null && [ "$ticks" -lt 60 ]; do
        sleep 0.2
        ticks=$((ticks + 1))
    done
}

rm_wait_until_connected() {
    until=$(($(date +%s) + 30))
    while [ "$(date +%s)" -lt "$until" ]; do
        if rm_run_agent "$agent" status --json 2>/dev/null |
            grep -q '"running": true.*"connected_since": "'; then
            say "The agent runs and is connected to $server."
            return
        fi
        sleep 0.3
    done
    trouble=$(rm_run_agent "$agent" status 2>&1 | sed -n 's/^Trouble: //p')
    die "The agent is installed and runs, but is not connected after 30 s. It keeps trying by itself." \
        "${trouble:-It has not said why yet.}" "To find out more: rm-agent doctor"
}

rm_after_words() {
    rm_look_for_restic
    if [ -n "$root" ]; then
        say "For trying it out: everything is in $root. Remove it with:"
        note "curl -fsSL $server/install.sh | RM_INSTALL_ROOT=$root sh -s -- --uninstall"
    elif [ "$init" != systemd ]; then
        say "This host has no systemd: the agent runs under its guard now, but nothing starts it at boot. Add this line"
        say "to what your init system runs at boot:"
        note "$guard run -- $python -I $agent run"
    fi
    rm_other_backups
}

rm_install() {
    rm_host
    rm_find_python
    say "restic-manager agent for $(uname -n) ($arch, $init), Python $python"
    [ ! -e "$agent" ] || had_agent=yes
    [ ! -e "$config" ] || had_config=yes
    [ ! -e "$state" ] || had_state=yes
    mkdir -p "$lib" 2>/dev/null || die "$lib cannot be made; is the file system read-only or full?"
    stage=$(mktemp -d "$lib/.install.XXXXXX") || die "$lib cannot be written; is the file system read-only or full?"
    trap rm_tidy EXIT
    trap 'exit 1' HUP INT TERM
    rm_take_settings
    rm_download
    rm_make_directories
    rm_write_settings
    [ -z "$enrol" ] || rm_enrol
    enrolled=yes
    unset RM_TOKEN
    rm_write_stage
    rm_place_all
    rm_start
    [ -n "$changed" ] || say "Everything was up to date; nothing was changed."
    rm_wait_until_connected
    rm_after_words
}

# ---- removing --------------------------------------------------------------------------------------------

rm_uninstall() {
    rm_host
    python=''
    for found in "$(sed -n 's/^Environment=RM_PYTHON=\([^ ]*\).*/\1/p' "$unit" 2>/dev/null)" "$(command -v python3 2>/dev/null)"; do
        [ -x "$found" ] && python=$(rm_python_behind "$found") && break
    done
    [ "$init" = systemd ] || rm_stop_guard
    if [ -n "$python" ] && rm_run_agent "$agent" version >/dev/null 2>&1; then
        rm_run_agent "$agent" uninstall
        exit $?
    fi
    say "The agent's own uninstall does not run here; its files are removed by this script."
    if [ -n "$unit" ] && [ "$init" = systemd ]; then
        systemctl disable --now "${trial_path##*/}" 2>/dev/null
        systemctl stop "${trial_service##*/}" 2>/dev/null
        systemctl disable --now "$service" 2>/dev/null
        rm -f "$unit" "$writable_file" "$trial_path" "$trial_service"
        rmdir "$unit.d" 2>/dev/null
        systemctl daemon-reload
    fi
    rm -rf "$lib" "$state"
    [ -z "$link" ] || rm -f "$link"
    rm -f "$config"
    rmdir "$hooks_directory" "${config%/*}" "$restore" "${restore%/*}" 2>/dev/null
    say "Removed: the program, its units, its settings and its state."
    [ ! -d "$restore" ] || say "Left: $restore with what was restored."
    say "Left: all backups in their repositories, restic itself, and the host's page on the server."
}

rm_main() {
    rm_settings
    rm_options "$@"
    case $action in
    uninstall) rm_uninstall ;;
    *) rm_install ;;
    esac
}

rm_main "$@" </dev/null
