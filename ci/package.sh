#!/usr/bin/env bash
# Builds comet's Debian package into target/debian, and with --test installs it here, uses it, and removes it again.
#
# PROFILE=dev builds it sooner, for a test. Needs cargo-deb (`cargo install cargo-deb`); the test needs to be root on a Debian with systemd's tools.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:$PWD/target/tools/bin

profile=${PROFILE:-release}
cargo build --profile "$profile" --quiet -p comet
rm -rf target/dist target/debian
# Cargo keeps the programs of its profile `dev` in `debug`.
"target/${profile/#dev/debug}/comet" dist target/dist
cargo deb --no-build --quiet --profile "$profile" -p comet
package=$(echo target/debian/*.deb)
echo "built $package"
[ "${1:-}" = --test ] || exit 0

dpkg --install "$package" >/dev/null
trap 'dpkg --purge comet >/dev/null' EXIT
/usr/bin/comet --version
/usr/bin/comet check --config /etc/comet/comet.toml >/dev/null
for file in man/man1/comet.1 man/man1/comet-doctor.1 bash-completion/completions/comet zsh/vendor-completions/_comet \
    fish/vendor_completions.d/comet.fish; do
    # Documentation may be left out where Debian is told so.
    [ -e "/usr/share/$file" ] || [ -e "/usr/share/$file.gz" ] || grep -q "/usr/share/$file" <(dpkg --listfiles comet)
done
systemd-analyze verify comet.service comet.socket
# In tenths: what the sandbox leaves open, by systemd's own measure.
systemd-analyze security --offline=true --threshold=20 /usr/lib/systemd/system/comet.service >/dev/null

# Without systemd as the first process nothing starts, but all choices are recorded.
wants=/etc/systemd/system/multi-user.target.wants/comet.service
is_enabled() { [ -L $wants ]; }
is_disabled() { [ ! -L $wants ]; }
is_enabled
[ ! -L /etc/systemd/system/sockets.target.wants/comet.socket ]
# An upgrade keeps what the operator has chosen, and the operator's settings.
systemctl --quiet disable comet.service
echo "# mine" >>/etc/comet/comet.toml
dpkg --install "$package" >/dev/null
is_disabled
grep -q "^# mine" /etc/comet/comet.toml
systemctl --quiet enable comet.service
dpkg --remove comet >/dev/null
[ -e /etc/comet/comet.toml ]
dpkg --install "$package" >/dev/null
is_enabled
dpkg --purge comet >/dev/null
[ ! -e /etc/comet ]
is_disabled
dpkg --install "$package" >/dev/null
is_enabled

# systemd's own tool binds the port, starts comet at the first connection, and hands it over; comet says when it is ready.
port=18417
systemd-socket-activate --listen=127.0.0.1:$port /usr/bin/comet --config /etc/comet/comet.toml >target/activated.log 2>&1 &
activated=$!
for _ in $(seq 50); do
    if answer=$(curl --silent --max-time 5 "http://127.0.0.1:$port/healthz"); then break; fi
    sleep 0.1
done
# What the unit's ExecReload does: settings that can change are changed, and wrong ones are not taken.
/usr/bin/comet health "127.0.0.1:$port"
kill -HUP $activated
/usr/bin/comet health --ready "127.0.0.1:$port"
kill $activated
wait $activated
[ "$answer" = ok ]
echo "installed, enabled, upgraded, purged; started by its socket, asked for its health, reloaded, drained"
