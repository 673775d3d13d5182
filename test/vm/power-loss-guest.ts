import path from 'node:path';
import { safetyContent } from '../safety/content.ts';
import type { GuestContent } from '../support/guest.ts';
import { preloadedGuest } from '../support/guest-package.ts';
import { copyWithLabel } from '../support/loop-device.ts';
import { toQcow2, type VirtualDisk } from '../support/qemu.ts';

/**
 * What the agent is told to make of the store: the two disks have a tag in common, and each one that the other has not.
 */
export const changes = {
  old: { labels: ['dpl-old'] },
  new: { labels: ['dpl-new'] },
  both: { labels: ['dpl-old', 'dpl-new'] },
  reversed: { labels: ['dpl-new', 'dpl-old'] },
  none: { labels: ['dpl-none-*'] },
} as const;

export type Change = keyof typeof changes;

/** Where the guest finds the user's own images. */
export const userArchive = '/root/user.tar';

/** Of a disk's serial number, for the guest: start no systemd, wait for commands. */
export const AGENT_ONLY = 'agent-';

/** Makes the two disks. @returns them as they are attached for a whole boot, and for one of the agent alone */
export async function powerLossDisks(
  folder: string,
): Promise<Readonly<Record<'whole' | 'agentOnly', readonly VirtualDisk[]>>> {
  const content = await safetyContent();
  const files: string[] = [];
  for (const [label, source] of [
    ['dpl-old', content.disk],
    ['dpl-new', content.upgrade],
  ] as const) {
    const [raw, qcow2] = [path.join(folder, `${label}.raw`), path.join(folder, `${label}.qcow2`)];
    await copyWithLabel(source, raw, label);
    await toQcow2(raw, qcow2);
    files.push(qcow2);
  }
  const attached = (prefix: string): readonly VirtualDisk[] =>
    files.map((file) => ({ id: `${prefix}${path.basename(file, '.qcow2')}`, file }));
  return { whole: attached(''), agentOnly: attached(AGENT_ONLY) };
}

/**
 * Takes systemd's place: with the disks of an agent-only boot attached, only what the agent needs is set up, which
 * takes a fraction of a boot to Docker. The mount options make a power cut as costly as ext4 allows.
 */
const init = `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
for serial in /sys/block/*/serial; do case "$(cat $serial)" in ${AGENT_ONLY}*) only=1 ;; esac; done
[ -n "$only" ] || exec /usr/lib/systemd/systemd "$@"
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mountpoint -q /run || mount -t tmpfs tmpfs /run
mount -o remount,rw,noauto_da_alloc /
modprobe virtio_console
modprobe overlay
while ! cat /sys/class/virtio-ports/*/name > /dev/null 2>&1; do sleep 0.1; done
mkdir -p /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do ln -sf /dev/\${port##*/} /dev/virtio-ports/$(cat $port/name); done
while :; do sh /usr/local/lib/guest-control; sleep 1; done
`;

/** Writes each STATUS= of the agent to the console, so that what a power cut has interrupted is known on this side. */
const phases = `use Socket;
socket(my $in, AF_UNIX, SOCK_DGRAM, 0) or die $!;
bind($in, sockaddr_un('/run/phases')) or die $!;
open(my $out, '>', '/dev/ttyS0') or die $!;
while (defined recv($in, my $text, 4096, 0)) { syswrite($out, "power-loss: $1\\n") if $text =~ /^STATUS=(.*)/m }
`;

/**
 * Runs the agent over and over. Arguments: changes, or \`unlink\`; with \`+sync\` as at the first start of a boot, when
 * what derives from a disk is synced at the end, otherwise as at a later start. \`unlink\` exits with 3, as it leaves
 * what the user stands on.
 */
const agentLoop = `#!/bin/sh
perl /usr/local/lib/power-loss-phases &
while [ ! -S /run/phases ]; do sleep 0.1; done
run=0
while :; do for word in "$@"; do
  run=$((run + 1))
  echo "power-loss: starting run $run, $word" > /dev/ttyS0
  change=\${word%+sync}
  [ "$change" = "$word" ] || rm -f /run/docker-preloader/boot.json
  if [ "$change" = unlink ]; then NOTIFY_SOCKET=/run/phases docker-preloader unlink > /run/loop.out 2>&1 || [ $? = 3 ]
  else NOTIFY_SOCKET=/run/phases docker-preloader apply --degraded-ok --config /etc/power-loss/$change.json > /run/loop.out 2>&1; fi || echo "power-loss: run $run, $word, failed: $(cat /run/loop.out)" > /dev/ttyS0
done; done
`;

/**
 * What goes on in Docker until the power is cut: tags come and go, containers run, another writes and syncs all the
 * time.
 */
const dockerLoop = `#!/bin/sh
count=0
while :; do
  count=$((count + 1))
  echo "power-loss: docker tag, $count" > /dev/ttyS0
  docker tag built:1 churn:$count
  echo "power-loss: docker run, $count" > /dev/ttyS0
  docker run --rm --network none base:1 sh -c 'echo more > /more'
  echo "power-loss: docker rmi, $count" > /dev/ttyS0
  docker rmi churn:$((count - 1))
done
`;

/** Tells the states of a boot on the console. */
const bootLoop = `#!/bin/sh
while :; do
  now="$(systemctl show --property=ActiveState,SubState,StatusText --value docker-preloader docker | tr '\\n' ' ')"
  [ "$now" = "$before" ] || echo "power-loss: preloader and docker: $now" > /dev/ttyS0
  before="$now"
  sleep 0.2
done
`;

/** In a whole boot the agent starts only when this side has looked at the store. */
const gate = `[Unit]
DefaultDependencies=no
Before=docker-preloader.service docker.service

[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh -c 'while [ ! -e /run/looked ]; do sleep 0.1; done'
`;

/**
 * What a guest needs to run the agent without systemd, over and over.
 * @param configs the agent's, by the name of a change
 */
export function agentOnlyContent(configs: Readonly<Record<string, object>>): Required<GuestContent> {
  return {
    files: {
      ...Object.fromEntries(
        Object.entries(configs).map(([name, config]) => [`/etc/power-loss/${name}.json`, JSON.stringify(config)]),
      ),
      '/usr/local/lib/power-loss-init': init,
      '/usr/local/lib/power-loss-phases': phases,
      '/usr/local/lib/power-loss-agent': agentLoop,
    },
    setup: [
      'chmod 755 /usr/local/lib/power-loss-init',
      'rm /usr/sbin/init',
      'cp /usr/local/lib/power-loss-init /usr/sbin/init',
    ].join('\n'),
  };
}

/**
 * A guest whose store can be looked at before the agent runs, and that can run the agent without systemd and Docker.
 */
export async function powerLossGuest(): Promise<GuestContent> {
  const { files, setup } = agentOnlyContent(changes);
  return preloadedGuest(changes.old, {
    files: {
      ...files,
      [userArchive]: { copyOf: (await safetyContent()).userArchive },
      '/usr/local/lib/power-loss-docker': dockerLoop,
      '/usr/local/lib/power-loss-boot': bootLoop,
      '/etc/systemd/system/power-loss-gate.service': gate,
    },
    setup: [
      setup,
      'mkdir -p /etc/systemd/system/docker-preloader.service.requires',
      'ln -s ../power-loss-gate.service /etc/systemd/system/docker-preloader.service.requires/',
    ].join('\n'),
  });
}
