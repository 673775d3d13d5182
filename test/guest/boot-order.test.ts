import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import type { DebianSuite } from '../support/debian-packages.ts';
import { type Guest, ok, until } from '../support/guest.ts';
import { guestDisks } from '../support/guest-disks.ts';
import { preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer, type Container } from '../support/nspawn.ts';

/** What the tests read of `boot-order --json`. */
interface BootOrder {
  readonly boot: { readonly readyUsec: number };
  readonly faults: readonly unknown[];
  readonly timeline: {
    readonly originUsec: number;
    readonly entries: readonly Entry[];
    readonly criticalPath: readonly Entry[];
  };
}

interface Entry {
  readonly name: string;
  readonly of?: string;
  readonly startUsec: number;
  readonly endUsec: number;
  readonly waitedFor?: string;
}

interface FaultCase {
  readonly about: string;
  /** Makes the fault, before the boot that has it. */
  readonly make: string;
  /** Done once that boot is over. */
  readonly later?: string;
  readonly code: string;
  /** Of the line that tells of it. */
  readonly says: RegExp;
  /** Other codes that may come with it: what follows from the fault, by chance or always. */
  readonly with?: readonly string[];
  /** What was made only for the test. */
  readonly tidy?: string;
}

const unitFile = '/etc/systemd/system/docker-preloader.service';
const packaged =
  '$(ls /usr/lib/systemd/system/docker-preloader.service /lib/systemd/system/docker-preloader.service 2>/dev/null | head -n 1)';
const service = (name: string, ...lines: readonly string[]): string =>
  `printf '%s\\n' ${lines.map((line) => `'${line}'`).join(' ')} > /etc/systemd/system/${name}`;
const dropIn = (unit: string, ...lines: readonly string[]): string =>
  `mkdir -p /etc/systemd/system/${unit}.d && ${service(`${unit}.d/test.conf`, ...lines)}`;
const otherDockerd = service(
  'other-docker.service',
  '[Service]',
  'Type=notify',
  'ExecStart=/usr/sbin/dockerd',
  '[Install]',
  'WantedBy=multi-user.target',
);

const cases = {
  early: {
    about: 'dockerd that started before READY, as with a first `systemctl enable --now`',
    // Without the drop-in, too: its `apply` would have filled the store in time.
    make: 'systemctl disable docker-preloader.service docker-preloader.socket && mkdir -p /etc/systemd/system/docker.service.d && ln -s /dev/null /etc/systemd/system/docker.service.d/50-docker-preloader.conf',
    later:
      'rm /etc/systemd/system/docker.service.d/50-docker-preloader.conf && systemctl enable --now docker-preloader',
    code: 'STARTED_EARLY',
    says: /dockerd started \S+ m?s before docker-preloader was READY; type: systemctl restart docker$/,
  },
  unwanted: {
    about: 'a unit that docker.service does not want',
    make: `systemctl disable docker-preloader && sed 's/^WantedBy=docker.service/WantedBy=multi-user.target/' ${packaged} > ${unitFile} && systemctl enable docker-preloader`,
    code: 'NOT_WANTED',
    says: /docker-preloader\.service is wanted only by multi-user\.target: expected docker\.service to want it/,
    with: ['STARTED_EARLY'],
  },
  unordered: {
    about: 'a unit that is not ordered before docker.service',
    make: `sed '/^Before=docker.service/d' ${packaged} > ${unitFile}`,
    code: 'NOT_ORDERED',
    says: /docker-preloader\.service \(\/etc\/systemd\/system\/docker-preloader\.service\) is not ordered before docker\.service/,
    with: ['STARTED_EARLY'],
  },
  ignoring: {
    about: 'docker.service started by a unit that passes over dependencies',
    make: `${service('early.service', '[Unit]', 'DefaultDependencies=no', 'After=dbus.socket sysinit.target', 'Before=docker.socket docker-preloader.service', '[Service]', 'Type=oneshot', 'ExecStart=systemctl start --job-mode=ignore-dependencies docker.service', '[Install]', 'WantedBy=sysinit.target basic.target')} && systemctl enable early`,
    code: 'STARTED_ELSEWHERE',
    says: /early\.service started docker\.service without its dependencies/,
    with: ['STARTED_EARLY'],
  },
  otherUnit: {
    about: 'dockerd started by another unit',
    make: `${otherDockerd} && systemctl disable docker.service docker.socket && systemctl enable other-docker`,
    code: 'STARTED_ELSEWHERE',
    says: /dockerd \(PID \d+\) was started by other-docker\.service, which does not wait for docker-preloader\.service/,
  },
  otherSocket: {
    about: 'docker.socket that starts another unit',
    make: `${otherDockerd} && ${dropIn('docker.socket', '[Socket]', 'Service=other-docker.service')} && systemctl disable docker.service`,
    code: 'STARTED_ELSEWHERE',
    says: /docker\.socket starts other-docker\.service, which does not wait/,
    tidy: 'rm -f /etc/systemd/system/other-docker.service; systemctl enable docker.service',
  },
  mountOrder: {
    about: 'a mount of the data root that the agent does not wait for',
    make: `mkdir -p /var/lib/docker/disk /srv/docker && echo '/var/lib/docker/disk /srv/docker none bind,nofail 0 0' > /etc/fstab
      mkdir -p /etc/docker && cp /etc/docker/daemon.json /etc/docker/daemon.json.before && sed 's|{|{ "data-root": "/srv/docker",|' /etc/docker/daemon.json.before > /etc/docker/daemon.json`,
    code: 'MOUNT_ORDER',
    says: /does not wait for \/srv\/docker, which the data root \/srv\/docker is on/,
    with: ['OTHER_STORE'],
    tidy: 'mv /etc/docker/daemon.json.before /etc/docker/daemon.json; : > /etc/fstab',
  },
  namespace: {
    about: 'a mount namespace of its own',
    make: dropIn('docker-preloader.service', '[Service]', 'PrivateTmp=yes', 'ReadOnlyPaths=/usr'),
    code: 'OWN_NAMESPACE',
    says: /mount namespace of its own by PrivateTmp=yes, ReadOnlyPaths=\/usr: dockerd sees empty folders/,
  },
  cycle: {
    about: 'an ordering cycle',
    make: `${service('circle.service', '[Unit]', 'After=docker.service', '[Service]', 'ExecStart=/bin/true', '[Install]', 'WantedBy=multi-user.target')} && systemctl enable circle && ${dropIn('docker-preloader.service', '[Unit]', 'After=circle.service')}`,
    code: 'ORDERING_CYCLE',
    says: /an ordering cycle, each waits for the next: docker-preloader\.service → circle\.service → docker\.service → docker-preloader\.service;/,
    with: ['STARTED_EARLY'],
  },
  lenient: {
    about: 'a required label without the strict drop-in',
    make: `echo '{"required":["dpl-a"]}' > /etc/docker-preloader/config.json`,
    code: 'NOT_STRICT',
    says: /dpl-a required, but Docker starts without: expected the strict drop-in, found the lenient drop-in/,
    tidy: 'echo {} > /etc/docker-preloader/config.json; rm /etc/systemd/system/docker.service.d/50-docker-preloader.conf',
  },
  masked: {
    about: 'a unit that is enabled but masked',
    make: 'systemctl mask docker-preloader',
    code: 'MASKED',
    says: /docker-preloader\.service is enabled but masked: systemd does not start it; type: systemctl unmask docker-preloader$/,
  },
  below: {
    about: 'a disk that is mounted below the data root',
    make: `mkdir -p /var/lib/docker/extra && ${service('extra.service', '[Unit]', 'Before=docker-preloader.service', '[Service]', 'Type=oneshot', 'ExecStart=sh -c "mount -o ro,noload $$(ls /dev/loop[0-9]* | head -n 1) /var/lib/docker/extra"', '[Install]', 'WantedBy=docker.service')} && systemctl enable extra`,
    code: 'BELOW_DATA_ROOT',
    says: /disk dpl-a is mounted on \/var\/lib\/docker\/extra, below the data root \/var\/lib\/docker/,
    tidy: 'systemctl disable extra',
  },
  dataRoot: {
    about: "docker info's data root that was not filled",
    make: dropIn(
      'docker.service',
      '[Service]',
      'ExecStart=',
      'ExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock --data-root /var/lib/docker/elsewhere',
    ),
    code: 'OTHER_STORE',
    says: /docker info: expected data root \/var\/lib\/docker, which was filled, found \/var\/lib\/docker\/elsewhere/,
    tidy: 'rm /etc/systemd/system/docker.service.d/test.conf; echo {} > /etc/docker-preloader/config.json',
  },
  driver: {
    about: "docker info's storage driver that is not the one that is filled",
    make: `cp /etc/docker/daemon.json /etc/docker/daemon.json.before && sed 's|{|{ "storage-driver": "vfs",|' /etc/docker/daemon.json.before > /etc/docker/daemon.json`,
    code: 'OTHER_STORE',
    says: /docker info: expected storage driver overlay2, the one that is filled, found vfs/,
    tidy: 'mv /etc/docker/daemon.json.before /etc/docker/daemon.json',
  },
} as const satisfies Record<string, FaultCase>;

/** Faults that can be there at the same time have one boot together. */
const boots: readonly (readonly FaultCase[])[] = [
  [cases.early],
  [cases.unwanted, cases.lenient],
  [cases.unordered, cases.below],
  [cases.ignoring],
  [cases.otherUnit],
  [cases.otherSocket, cases.masked],
  [cases.mountOrder, cases.namespace],
  [cases.cycle],
  [cases.dataRoot, cases.driver],
];

const suite: DebianSuite = chosenSuite('trixie');

describe(`boot-order on a booted Debian ${suite}`, () => {
  let guest: Container;
  before(async () => {
    const { device } = await attach((await guestDisks())('dpl-a').raw);
    guest = await bootContainer({ suite, devices: [device], ...preloadedGuest() });
  });
  after(cleanUpAll);

  it('tells each step, what it waited for, and the critical path, and finds nothing wrong', async () => {
    const { timeline, boot } = await bootOrder(guest);
    const names = timeline.entries.map(({ name }) => name);
    for (const name of [
      'userspace',
      'docker-preloader.service',
      'discover',
      'plan',
      'apply',
      'READY (ok)',
      'docker.socket',
      'containerd.service',
      'docker.service',
      'dockerd',
    ])
      assert.ok(names.includes(name), `${name} among ${names.join(', ')}`);
    assert.ok(
      names.some((name) => /^mounted: dpl-a \(\/dev\/loop\d+\)$/.test(name)),
      names.join(', '),
    );
    const at = (name: string): Entry => timeline.entries.find((entry) => entry.name === name) ?? assert.fail(name);
    assert.equal(at('docker-preloader.service').endUsec, boot.readyUsec);
    assert.ok(at('docker-preloader.service').endUsec <= at('docker.service').startUsec);
    assert.match(String(at('docker-preloader.service').waitedFor), /\.(target|service|mount|socket)/);
    assert.equal(timeline.criticalPath.at(-1)?.name, 'docker.service');
    assert.ok(timeline.criticalPath.length > 3, JSON.stringify(timeline.criticalPath));
    for (const [index, { startUsec, name, waitedFor }] of timeline.criticalPath.entries()) {
      const before = timeline.criticalPath[index - 1];
      if (before === undefined) continue;
      assert.ok(before.endUsec <= startUsec + 1000, name);
      assert.ok(waitedFor?.startsWith(before.name), `${name} after ${before.name}: ${waitedFor ?? ''}`);
    }
    // Every microsecond of the agent belongs to one of its steps.
    const steps = timeline.entries.filter(
      (entry) => entry.of === 'docker-preloader.service' && entry.endUsec > entry.startUsec,
    );
    for (const [index, step] of steps.entries())
      if (index > 0) assert.equal(step.startUsec, steps[index - 1]?.endUsec, step.name);
    assert.deepEqual(await guest.run('docker-preloader boot-order --check'), { code: 0, stdout: '', stderr: '' });
  });

  it('is a table without colours in a pipe, that fits a narrow terminal, and works without root', async () => {
    const piped = await ok(guest, 'docker-preloader boot-order | cat');
    assert.ok(!piped.includes('\u001B'), piped);
    assert.match(piped, /^ +OFFSET +DURATION +STEP +WAITED FOR$/m);
    assert.match(piped, /^\* .* docker\.service .*$/m);
    const user = await ok(
      guest,
      'setpriv --reuid=65534 --regid=$(getent group docker | cut -d: -f3) --clear-groups docker-preloader boot-order',
    );
    assert.match(user, /Critical path to docker\.service, up at \d+\.\d+ s:/);
    assert.match(user, /mounted: dpl-a/);
    const checked = await guest.run(
      'setpriv --reuid=65534 --regid=65534 --clear-groups docker-preloader boot-order --check',
    );
    assert.deepEqual([checked.code, checked.stdout], [2, ''], checked.stderr);
    for (const unseen of [
      /docker info: .*group docker/,
      /first starts and cycles: /,
      /whether docker-preloader\.service sees the mounts of PID 1: only root can look/,
    ]) {
      assert.match(checked.stderr, new RegExp(`^docker-preloader: not looked at: ${unseen.source}`, 'm'));
    }
  });

  it('shows the first container, and reads what was captured elsewhere', async () => {
    await ok(
      guest,
      'docker run --detach --stop-signal KILL --name first --network none image-dpl-a:1 sleep 100000 && docker run --rm --network none image-dpl-a:1 true',
    );
    const { timeline } = await bootOrder(guest);
    const [container] = timeline.entries.filter(({ name }) => name === 'container first (image-dpl-a:1)');
    const docker = timeline.entries.find(({ name }) => name === 'docker.service');
    assert.ok(
      container !== undefined && docker !== undefined && container.startUsec > docker.endUsec,
      JSON.stringify(timeline.entries),
    );
    await ok(guest, 'docker-preloader boot-order --json > /root/boot.json');
    const here = await ok(guest, 'docker-preloader boot-order /root/boot.json');
    assert.equal(await ok(guest, 'docker-preloader boot-order - < /root/boot.json'), here);
    await ok(guest, 'docker-preloader boot-order /root/boot.json --svg /root/boot.svg && docker rm --force first');
    assert.match(await ok(guest, 'cat /root/boot.svg'), /^<svg .*first \(image-dpl-a:1\).*<\/svg>$/s);
  });

  it("keeps the times of this boot's first READY when the agent and Docker are restarted, and when a client wakes the agent", async () => {
    const first = await bootOrder(guest);
    const pick = ({ timeline }: BootOrder): readonly Entry[] =>
      timeline.entries.filter(
        ({ name, of }) => name === 'docker-preloader.service' || of === 'docker-preloader.service',
      );
    const docker = ({ timeline }: BootOrder): number =>
      timeline.entries.find(({ name }) => name === 'docker.service')?.startUsec ?? assert.fail();
    const disturbances = [
      'systemctl restart docker-preloader',
      'systemctl restart docker',
      'systemctl stop docker-preloader.service && systemctl start docker-preloader.socket && docker-preloader status --json',
      'systemctl kill --signal=KILL --kill-whom=main docker-preloader.service',
    ];
    for (const command of disturbances) {
      await ok(guest, command);
      await until(guest, 'systemctl is-active docker-preloader docker');
      const now = await bootOrder(guest);
      assert.equal(now.boot.readyUsec, first.boot.readyUsec, command);
      const [unit, ...steps] = pick(now);
      const [unitBefore, ...stepsBefore] = pick(first);
      // Of the start before the agent's own first step, only the journal knows then, a moment later.
      const own = (entries: readonly Entry[]): readonly Entry[] => entries.filter(({ name }) => name !== 'process');
      assert.deepEqual(own(steps), own(stepsBefore), command);
      assert.equal(unit?.endUsec, unitBefore?.endUsec, command);
      assert.ok(Math.abs((unit?.startUsec ?? 0) - (unitBefore?.startUsec ?? 0)) < 1_000_000, command);
      assert.ok(
        Math.abs(docker(now) - docker(first)) < 1_000_000,
        `${command}: docker.service at ${docker(now)}, before ${docker(first)}`,
      );
      assert.deepEqual(now.faults, [], command);
    }
  });

  for (const faults of boots) {
    it(`finds and mends ${faults.map(({ about }) => about).join(', and ')}`, async () => {
      for (const { make } of faults) await ok(guest, make);
      await guest.reboot();
      for (const { later } of faults) if (later !== undefined) await ok(guest, later);
      const { code, stdout, stderr } = await guest.run('docker-preloader boot-order --check');
      assert.deepEqual([code, stderr], [1, ''], stdout);
      const lines = stdout.trimEnd().split('\n');
      const expected = faults.flatMap((fault) => [fault.code, ...(fault.with ?? [])]);
      for (const line of lines) {
        assert.match(line, /^[A-Z_]+: [^\n]+; type: \S[^\n]*$/);
        assert.ok(expected.includes(line.split(':')[0] ?? ''), stdout);
      }
      for (const fault of faults) await mend(guest, fault, lines);
      for (const { tidy } of faults) if (tidy !== undefined) await ok(guest, tidy);
    });
  }

  it('finds nothing wrong at the boot after all was mended', async () => {
    await guest.reboot();
    assert.deepEqual(await guest.run('docker-preloader boot-order --check'), { code: 0, stdout: '', stderr: '' });
    await guest.poweroff();
  });
});

/** Types what the line says, as a person would. */
async function mend(guest: Guest, { code, says }: FaultCase, lines: readonly string[]): Promise<void> {
  const isOf = (line: string): boolean => line.startsWith(`${code}:`) && says.test(line);
  const line = lines.find(isOf) ?? assert.fail(`expected ${code}, ${says.source}, found:\n${lines.join('\n')}`);
  const command = line.slice(line.indexOf('; type: ') + '; type: '.length);
  await ok(guest, command);
  const left = (await guest.run('docker-preloader boot-order --check')).stdout
    .split('\n')
    .filter((one) => one.startsWith(`${code}:`) && (isOf(one) || one.includes('the next boot')));
  // What order this boot had stays as it was; the line says so.
  for (const one of left)
    assert.match(one, /the next boot shows .*; type: systemctl reboot$/, `\`${command}\` must mend it`);
}

async function bootOrder(guest: Guest): Promise<BootOrder> {
  return JSON.parse(await ok(guest, 'docker-preloader boot-order --json')) as BootOrder;
}
