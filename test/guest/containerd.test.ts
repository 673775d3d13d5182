import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { madeDisk } from '../containerd/real/disks.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { fails, type GuestContent, ok, unitProperties, until } from '../support/guest.ts';
import { agentStatus, dockerImages, packageFile, packageInGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer, type Container } from '../support/nspawn.ts';

const agent = 'docker-preloader.service';
const filler = 'docker-preloader-containerd.service';
const target = 'docker-preloader-before-containerd.target';
const units = [agent, 'docker-preloader.socket', filler, target];
const all = ['app-a:1', 'app-b:1', 'one:1'];
const daemonJson = '{ "bridge": "none", "iptables": false, "features": { "containerd-snapshotter": true } }';

/** The Docker of Debian 12 can have its images in its own store alone. */
const suite = chosenSuite('trixie') === 'bookworm' ? 'trixie' : chosenSuite('trixie');

/** It writes down what it finds when it starts, as kubelet would, which pulls whatever is missing. */
const kubelet = `[Service]
Type=exec
ExecStartPre=-sh -c 'ctr --namespace k8s.io images ls -q > /run/kubelet.found'
ExecStart=sleep infinity
[Install]
WantedBy=multi-user.target
`;

/** A guest with disks, on which the package is installed before it boots for the first time. */
async function boot(
  disks: readonly string[],
  { files, setup }: Required<GuestContent>,
): Promise<{ readonly guest: Container; readonly devices: readonly string[] }> {
  const devices = await Promise.all(disks.map(async (name) => (await attach((await madeDisk(name)).gzip)).device));
  const guest = await bootContainer({
    suite,
    devices,
    files: { [packageInGuest]: { copyOf: packageFile() }, ...files },
    setup: `dpkg -i ${packageInGuest}\n${setup}`,
  });
  return { guest, devices };
}

async function checkOrder(guest: Container): Promise<void> {
  assert.deepEqual(await guest.run('docker-preloader boot-order --check'), { code: 0, stdout: '', stderr: '' });
}

describe('a boot with the images in containerd, for Docker and Kubernetes', () => {
  let guest: Container;
  let devices: readonly string[];
  before(async () => {
    ({ guest, devices } = await boot(['a', 'b'], {
      files: {
        '/etc/docker-preloader/config.json': JSON.stringify({ namespaces: ['moby', 'k8s.io'] }),
        '/etc/docker/daemon.json': daemonJson,
        '/etc/systemd/system/kubelet.service': kubelet,
      },
      setup: 'systemctl enable docker-preloader-containerd kubelet',
    }));
  });
  after(cleanUpAll);

  const isEnabled = async (): Promise<string[]> =>
    (await guest.run(`systemctl is-enabled ${units.join(' ')}`)).stdout.trimEnd().split('\n');
  const inDocker = async (image: string, file: string): Promise<string> =>
    ok(guest, `docker run --rm --network none ${image} cat ${file}`);
  const both = 'systemctl is-active docker containerd';

  it('takes one command to enable, and has no cycle', async () => {
    assert.deepEqual(await isEnabled(), ['enabled', 'enabled', 'enabled', 'enabled']);
    const verify = await guest.run(
      `systemd-analyze --man=no verify ${units.join(' ')} docker.service containerd.service kubelet.service`,
    );
    assert.deepEqual(verify, { code: 0, stdout: '', stderr: '' });
    await checkOrder(guest);
  });

  it('starts the agent, containerd, what fills it, and then Docker and kubelet', async () => {
    const at = async (unit: string, name: string): Promise<number> =>
      Number((await unitProperties(guest, unit, [name]))[name]);
    const times = [
      await at(agent, 'ActiveEnterTimestampMonotonic'),
      await at('containerd.service', 'InactiveExitTimestampMonotonic'),
      await at('containerd.service', 'ActiveEnterTimestampMonotonic'),
      await at(filler, 'InactiveExitTimestampMonotonic'),
      await at(filler, 'InactiveEnterTimestampMonotonic'),
    ];
    assert.deepEqual(
      times.toSorted((a, b) => a - b),
      times,
    );
    for (const user of ['docker.service', 'kubelet.service'])
      assert.ok((await at(user, 'InactiveExitTimestampMonotonic')) >= Number(times.at(-1)), user);
    const table = await ok(guest, 'docker-preloader boot-order | cat');
    assert.match(table, /^\* .* docker-preloader-containerd\.service +containerd\.service/m);
    assert.match(table, /^\* .* docker\.service +docker-preloader-containerd\.service/m);
    assert.match(await ok(guest, 'docker-preloader boot-order --svg -'), /docker-preloader-containerd\.service/);
  });

  it('gives Docker and Kubernetes the images at the first boot, and makes no store for overlay2', async () => {
    assert.deepEqual(await dockerImages(guest), all);
    assert.equal(await inDocker('app-a:1', '/etc/a'), 'a');
    assert.equal(await inDocker('app-b:1', '/etc/b2'), 'b2');
    const found = await ok(guest, 'cat /run/kubelet.found');
    for (const image of all) assert.ok(found.includes(`docker.io/library/${image}\n`), found);
    assert.equal((await agentStatus(guest)).state, 'ok');
    await fails(guest, 'test -e /var/lib/docker/overlay2');
    assert.equal(await ok(guest, 'systemctl --failed --no-legend'), '');
    await ok(guest, 'docker run --detach --stop-signal KILL --name steady --network none app-b:1 sleep 100000');
  });

  it('fills containerd again when that is restarted, and leaves a running container alone', async () => {
    const ended = `systemctl show --value --property=InactiveEnterTimestampMonotonic ${filler}`;
    for (const command of ['restart containerd', 'stop containerd kubelet && systemctl start containerd kubelet']) {
      const before = await ok(guest, ended);
      await ok(guest, `ctr -n k8s.io images rm docker.io/library/app-a:1 && systemctl ${command}`);
      await until(guest, `test "$(${ended})" != ${before}`);
      assert.match(await ok(guest, 'ctr -n k8s.io images ls -q'), /^docker\.io\/library\/app-a:1$/m);
    }
    assert.match(await ok(guest, 'cat /run/kubelet.found'), /^docker\.io\/library\/app-a:1$/m);
    assert.equal(await ok(guest, 'docker exec steady cat /etc/b2'), 'b2');
  });

  it('has them after a reboot', async () => {
    await guest.reboot();
    assert.deepEqual(await dockerImages(guest), all);
    assert.equal(await inDocker('app-a:1', '/etc/a'), 'a');
    await ok(guest, 'docker start steady');
  });

  it('starts both daemons without the disks, and has what a container stands on back with them, on another path', async () => {
    for (const device of devices) await guest.unplug(device);
    await guest.reboot();
    assert.equal(await ok(guest, both), 'active\nactive');
    assert.ok(!(await dockerImages(guest)).includes('app-a:1'));
    await fails(guest, 'docker start steady');
    assert.match(JSON.stringify((await agentStatus(guest)).findings), /"KEPT"/);

    for (const device of devices) await guest.plug(device);
    await ok(
      guest,
      `echo '{ "namespaces": ["moby", "k8s.io"], "mountRoot": "/run/elsewhere" }' > /etc/docker-preloader/config.json`,
    );
    await guest.reboot();
    assert.equal(await ok(guest, 'ls /run/elsewhere'), 'dpl-a\ndpl-b');
    assert.deepEqual(await dockerImages(guest), all);
    await ok(guest, 'docker start steady');
    assert.equal(await ok(guest, 'docker exec steady cat /etc/b2'), 'b2');
    assert.equal(await inDocker('app-a:1', '/etc/a'), 'a');
  });

  it('starts containerd and Docker, with the images, where both units fail', async () => {
    for (const unit of [agent, filler])
      await ok(
        guest,
        `mkdir -p /etc/systemd/system/${unit}.d
        printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > /etc/systemd/system/${unit}.d/fails.conf`,
      );
    await guest.reboot();
    assert.equal(await ok(guest, both), 'active\nactive');
    // By docker.service's drop-in.
    assert.equal(await inDocker('app-a:1', '/etc/a'), 'a');
    assert.match(await ok(guest, 'systemctl --failed --no-legend'), /docker-preloader-containerd\.service/);
    await ok(guest, `rm -r /etc/systemd/system/${agent}.d /etc/systemd/system/${filler}.d && systemctl daemon-reload`);
    await ok(guest, `systemctl reset-failed ${agent} ${filler} && systemctl start ${agent} ${filler}`);
  });

  it('lets kubelet start where containerd fails, and is started again every 5 s', async () => {
    const dropIn = '/etc/systemd/system/containerd.service.d';
    await ok(
      guest,
      `mkdir -p ${dropIn} && printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > ${dropIn}/fails.conf
      systemctl disable docker.service docker.socket`,
    );
    await guest.reboot();
    assert.equal(await ok(guest, 'systemctl is-active kubelet'), 'active');
    await ok(guest, `rm -r ${dropIn} && systemctl daemon-reload && systemctl reset-failed`);
    await ok(guest, 'systemctl start containerd && systemctl enable --now docker.service docker.socket');
    assert.deepEqual(await dockerImages(guest), all);
    assert.match(await ok(guest, 'ctr -n k8s.io images ls -q'), /^docker\.io\/library\/app-a:1$/m);
  });

  /** What can be wrong at the same time is one round. */
  const rounds: readonly Readonly<Record<string, string>>[] = [
    {
      [`systemctl mask ${target}`]: 'NOT_ORDERED: docker-preloader.service is not ordered before containerd.service',
      [`sed /^Before=docker/d /usr/lib/systemd/system/${filler} > /etc/systemd/system/${filler}; systemctl daemon-reload`]: `NOT_ORDERED: ${filler} (/etc/systemd/system/${filler}) is not ordered before docker.service`,
    },
    { [`systemctl mask ${filler}`]: `MASKED: ${filler} is enabled but masked` },
    { [`systemctl disable ${filler}`]: `NOT_WANTED: ${filler} is wanted by nothing` },
  ];
  it('finds what is wrong with their order, and says what to type', async () => {
    for (const round of rounds) {
      for (const command of Object.keys(round)) await ok(guest, command);
      const { code, stdout, stderr } = await guest.run('docker-preloader boot-order --check');
      assert.deepEqual([code, stderr], [1, ''], stdout);
      const lines = stdout.trimEnd().split('\n');
      for (const says of Object.values(round)) {
        const line = lines.find((one) => one.startsWith(says)) ?? assert.fail(`${says}: ${stdout}`);
        await ok(guest, line.slice(line.indexOf('; type: ') + '; type: '.length));
      }
      assert.deepEqual(await isEnabled(), ['enabled', 'enabled', 'enabled', 'enabled'], stdout);
    }
    await checkOrder(guest);
  });

  it('is told of once in the journal, and in the status, where it is not enabled and Kubernetes does not wait', async () => {
    const told = 'docker-preloader status --json | grep CONTAINERD_NOT_AWAITED';
    await fails(guest, told);
    await ok(guest, `systemctl disable ${units.join(' ')} && systemctl enable ${agent} && systemctl restart ${agent}`);
    await until(guest, told);
    assert.equal((await agentStatus(guest)).state, 'ok');
    const entries = await ok(guest, 'journalctl --boot --output=cat PRELOADER_CODE=CONTAINERD_NOT_AWAITED');
    assert.match(
      entries,
      /^namespace k8s\.io of containerd [^\n]*; run: systemctl enable docker-preloader-containerd$/,
    );
  });

  it('serves Kubernetes without Docker', async () => {
    await ok(guest, `systemctl disable docker.service docker.socket && systemctl enable ${filler}`);
    await guest.reboot();
    assert.equal((await guest.run('systemctl is-active docker')).stdout.trim(), 'inactive');
    const found = await ok(guest, 'cat /run/kubelet.found');
    for (const image of all) assert.ok(found.includes(`docker.io/library/${image}\n`), found);
    await checkOrder(guest);
    assert.equal((await agentStatus(guest)).state, 'ok');
    await ok(guest, 'systemctl enable --now docker.service docker.socket');
  });

  it('is removed with the package, while Docker runs', async () => {
    await ok(guest, `docker rm --force steady && dpkg -r docker-preloader`);
    assert.deepEqual(await dockerImages(guest), []);
    assert.equal(await ok(guest, "find /var/lib/containerd -lname '/run/docker-preloader/*'; ls /run/elsewhere"), '');
    assert.equal(await ok(guest, 'find /etc/systemd/system /usr/lib/systemd/system -name "docker-preloader*"'), '');
    await ok(guest, 'systemctl daemon-reload && systemctl restart containerd docker');
    await until(guest, both);
    await guest.powerCut();
  });
});

/** What K3s does first: it starts a containerd of its own. */
const k3s = `[Service]
Type=notify
ExecStart=containerd --config /etc/k3s.toml
ExecStartPost=sh -c 'ctr --address /run/k3s/sock --namespace k8s.io images ls -q > /run/k3s.found'
[Install]
WantedBy=multi-user.target
`;
const k3sConfig = `version = 2
root = "/var/lib/containerd/k3s"
state = "/run/k3s"
[grpc]
  address = "/run/k3s/sock"
`;

describe('a boot with a containerd that starts only later', () => {
  after(cleanUpAll);

  it('fills that of K3s before, by a private one in the sandbox of the unit', async () => {
    const { guest } = await boot(['b'], {
      files: {
        '/etc/docker-preloader/config.json': JSON.stringify({
          store: 'containerd',
          namespaces: ['k8s.io'],
          containerdAddress: '/run/k3s/sock',
          containerdRoot: '/var/lib/containerd/k3s',
          containerdConfig: '/etc/k3s.toml',
        }),
        '/etc/k3s.toml': k3sConfig,
        '/etc/systemd/system/k3s.service': k3s,
      },
      setup: `systemctl disable docker.service docker.socket containerd
        systemctl enable k3s && systemctl add-wants k3s.service ${filler}`,
    });
    assert.equal((await guest.run('systemctl is-active docker containerd k3s')).stdout, 'inactive\ninactive\nactive\n');
    const found = await ok(guest, 'cat /run/k3s.found');
    for (const image of ['app-b:1', 'one:1']) assert.ok(found.includes(`docker.io/library/${image}\n`), found);
    await checkOrder(guest);
    assert.match(await ok(guest, 'docker-preloader boot-order | cat'), / k3s\.service +docker-preloader-containerd/);
    assert.equal((await agentStatus(guest)).state, 'ok');
    await guest.powerCut();
  });

  it('fills that which dockerd manages, where the unit of the system is masked', async () => {
    const { guest } = await boot(['b'], {
      files: {
        '/etc/docker/daemon.json': daemonJson,
        '/etc/systemd/system/docker.service.d/managed.conf':
          '[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd://\n',
      },
      setup: `systemctl disable containerd && systemctl mask containerd
        systemctl enable docker-preloader-containerd`,
    });
    assert.deepEqual(await dockerImages(guest), ['app-b:1', 'one:1']);
    assert.equal(await ok(guest, 'docker run --rm --network none app-b:1 cat /etc/b2'), 'b2');
    assert.equal(await ok(guest, 'systemctl --failed --no-legend'), '');
    await checkOrder(guest);

    // systemd takes an empty file for a mask, too.
    await ok(
      guest,
      `systemctl stop docker.socket docker && rm -r /var/lib/docker/containerd
      rm /etc/systemd/system/containerd.service && touch /etc/systemd/system/containerd.service`,
    );
    await guest.reboot();
    assert.equal((await agentStatus(guest)).state, 'ok');
    assert.deepEqual(await dockerImages(guest), ['app-b:1', 'one:1']);
    await guest.powerCut();
  });
});
