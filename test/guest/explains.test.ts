import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { parseReadAhead } from '../../agent/disk/read-ahead-list.ts';
import { planSchema, statusSchema } from '../../agent/status/schema.ts';
import { messages } from '../../agent/messages/events.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { fails, ok, unitProperties, until } from '../support/guest.ts';
import { guestCurl } from '../support/guest-curl.ts';
import { type GuestDisks, guestDisks } from '../support/guest-disks.ts';
import { dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { hidesPageCache } from '../support/kernel.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer, type Container } from '../support/nspawn.ts';
import { tempTree } from '../support/temp-tree.ts';

const readme = readFileSync(path.resolve(import.meta.dirname, '../../agent/status/README.md'), 'utf8');
const examples = [...readme.matchAll(/^curl --unix-socket .*$/gm)].map(([line]) => line);
/** Everything that the store's files are and hold, but for when they were read. */
const storeNow = "find /var/lib/docker -xdev -printf '%P %y %m %s %T@ %l\\n' | sort | sha256sum";

/** Asks as soon as the socket is there, before the agent has begun its work. */
const earlyClient = `[Unit]
DefaultDependencies=no
After=docker-preloader.socket
[Service]
Type=exec
ExecStart=sh -c 'curl --silent --show-error --max-time 60 --unix-socket /run/docker-preloader/status.sock http://localhost/v1/status > /run/early.json'
RemainAfterExit=yes
`;

describe('at the console of a guest with two disks and a dirty one', () => {
  let guest: Container;
  let disks: GuestDisks;
  before(async () => {
    disks = await guestDisks();
    const dirty = path.join((await tempTree('dpl-explains')).path, 'dirty.raw');
    await cp(disks('dpl-01').raw, dirty);
    await execa('debugfs', ['-w', '-R', 'feature needs_recovery', dirty]);
    const devices = [];
    for (const file of [disks('dpl-a').raw, disks('dpl-b').raw, dirty]) devices.push((await attach(file)).device);
    const curl = await guestCurl();
    guest = await bootContainer({
      suite: chosenSuite('trixie'),
      devices,
      ...preloadedGuest(
        {},
        {
          files: { ...curl.files, '/etc/systemd/system/early-client.service': earlyClient },
          setup: `${curl.setup}\nsystemctl add-wants docker-preloader.socket early-client.service\nuseradd --create-home --groups docker member\nuseradd --create-home stranger`,
        },
      ),
    });
  });
  after(cleanUpAll);

  it('a client that came before the agent has waited for the answer, and the boot was as always', async () => {
    await until(guest, 'test -s /run/early.json');
    const early = await unitProperties(guest, 'early-client.service', [
      'ExecMainStartTimestampMonotonic',
      'ExecMainStatus',
    ]);
    const agent = await unitProperties(guest, 'docker-preloader.service', ['ActiveEnterTimestampMonotonic']);
    assert.ok(
      Number(early['ExecMainStartTimestampMonotonic']) < Number(agent['ActiveEnterTimestampMonotonic']),
      'it came too late to show anything',
    );
    assert.equal(early['ExecMainStatus'], '0');
    assert.equal(statusSchema.parse(JSON.parse(await ok(guest, 'cat /run/early.json'))).state, 'degraded');
    assert.deepEqual(await dockerImages(guest), [disks('dpl-a').image, disks('dpl-b').image]);
  });

  it('`docker-preloader status` is a table of disks and images, with what is wrong', async () => {
    const { code, stdout, stderr } = await guest.run('docker-preloader status');
    assert.deepEqual([code, stderr], [3, '']);
    const lines = stdout.split('\n');
    assert.match(lines[0] ?? '', /^degraded: 2 disks, 2 images, 3 layers, .*\d ms$/);
    assert.match(
      lines[1] ?? '',
      /^(ready|sync|watch) since \d{4}-\d\d-\d\dT[\d:.]+Z; agent \d\S+, format 1\.1, dockerd \d+\.\d+\.\S+; store \/var\/lib\/docker$/,
    );
    assert.ok(
      lines.some((line) =>
        /^dpl-a +in use +\/dev\/loop\d+ +ext4 +\d.*\/run\/docker-preloader\/disks\/dpl-a$/.test(line),
      ),
      stdout,
    );
    assert.ok(
      lines.some((line) => /^dpl-01 +refused +\/dev\/loop\d+ +ext4 +\d\S* MB +0 +0 +DISK_DIRTY$/.test(line)),
      stdout,
    );
    assert.ok(
      lines.some((line) => /^image-dpl-b:1 +[0-9a-f]{12} +dpl-b +yes$/.test(line)),
      stdout,
    );
    assert.ok(
      lines.some((line) => /^DISK_DIRTY: disk dpl-01 .*run e2fsck/.test(line)),
      stdout,
    );
    // On a terminal: colours, and cut to its width; NO_COLOR takes the colours away.
    const terminal = (env: string): Promise<string> =>
      ok(
        guest,
        `TERM=xterm ${env} script --quiet --return --command 'stty cols 60; docker-preloader status' /dev/null; true`,
      );
    assert.ok((await terminal('')).includes('\u001b[33mdegraded: '));
    const plain = await terminal('NO_COLOR=1');
    assert.ok(!plain.includes('\u001b'), JSON.stringify(plain));
    for (const line of plain.split(/\r?\n/).slice(0, 20))
      assert.ok(line.length <= 60 || !line.startsWith('dpl-'), line);
  });

  it('has read ahead what a disk lists, and records what is in memory', async (t) => {
    await until(guest, 'journalctl -b -u docker-preloader | grep "read ahead"');
    assert.match(
      await ok(guest, 'journalctl -b -o cat PRELOADER_CODE=READ_AHEAD PRELOADER_LABEL=dpl-b'),
      /^disk dpl-b: 5 kB of 1 file are read ahead$/,
    );
    const { code, stdout, stderr } = await guest.run('docker-preloader record');
    if (hidesPageCache() !== false) {
      assert.match(stderr, /Linux 6\.5 or later/);
      return t.skip(stderr);
    }
    assert.equal(code, 0, stderr);
    assert.ok(
      parseReadAhead(stdout, 'record').layers.some(({ files }) => files.some((file) => file.path === 'name')),
      stdout,
    );
  });

  it('works for members of the group docker, and tells others why it does not', async () => {
    const member = await guest.run('runuser -u member -- docker-preloader status --json');
    assert.deepEqual([member.code, statusSchema.parse(JSON.parse(member.stdout)).disks.length], [3, 3]);
    const stranger = await guest.run('runuser -u stranger -- docker-preloader status');
    assert.equal(stranger.code, 1);
    assert.match(
      stranger.stderr,
      /^docker-preloader: the status socket \S+ answers root and members of the group docker: permission denied; run it as one of them\n$/,
    );
  });

  it("the README's curl lines answer, each as it is written there", async () => {
    const answers = new Map<string, string>();
    for (const example of examples)
      answers.set(
        new URL(example.split(' ').at(-1) ?? '').pathname,
        await ok(guest, `${example} --silent --show-error --fail`),
      );
    assert.deepEqual([...answers.keys()], ['/v1/status', '/v1/plan', '/v1/timeline', '/metrics', '/healthz']);
    const status = statusSchema.parse(JSON.parse(answers.get('/v1/status') ?? ''));
    assert.deepEqual(
      status.disks.map(({ label, state, error }) => [label, state, error?.code]),
      [
        ['dpl-a', 'in-use', undefined],
        ['dpl-b', 'in-use', undefined],
        ['dpl-01', 'refused', 'DISK_DIRTY'],
      ],
    );
    assert.match(status.versions.dockerd ?? '', /^\d+\.\d+/);
    const plan = planSchema.parse(JSON.parse(answers.get('/v1/plan') ?? ''));
    assert.deepEqual([plan.state, plan.steps, plan.findings.map(({ code }) => code)], ['degraded', [], ['DISK_DIRTY']]);
    assert.ok((JSON.parse(answers.get('/v1/timeline') ?? '') as { readyUsec: number }).readyUsec > 0);
    assert.match(
      answers.get('/metrics') ?? '',
      /^docker_preloader_disk_states\{state="refused"\} 1$[^]*^docker_preloader_version\{version="\S+",format="1\.1",dockerd="\d\S+"\} 1$[^]*\n# EOF$/m,
    );
    assert.equal(answers.get('/healthz'), 'degraded');
  });

  it('the socket says 404 and 405 in JSON, and what the metrics are', async () => {
    const ask = (options: string, url: string): Promise<string> =>
      ok(
        guest,
        `curl --silent --show-error --include ${options} --unix-socket /run/docker-preloader/status.sock http://localhost${url}`,
      );
    assert.match(
      await ask('', '/nowhere'),
      /^HTTP\/1\.1 404 [^]*content-type: application\/json[^]*\r\n\r\n\{"error":"no such path: \/nowhere; there are \/v1\/status, /i,
    );
    assert.match(
      await ask('--request DELETE', '/v1/status'),
      /^HTTP\/1\.1 405 [^]*allow: GET, HEAD[^]*\r\n\r\n\{"error":"expected GET, found DELETE"\}/i,
    );
    assert.match(
      await ask('', '/metrics'),
      /^HTTP\/1\.1 200 [^]*content-type: application\/openmetrics-text; version=1\.0\.0; charset=utf-8\r\n/i,
    );
    assert.match(
      await ask('--head', '/v1/status'),
      /^HTTP\/1\.1 200 [^]*content-length: \d{3,}\r\n[^]*\r\n\r\n$|^HTTP\/1\.1 200 [^]*content-length: \d{3,}/i,
    );
  });

  it('`journalctl -x` explains each entry: what happened, why and what to do', async () => {
    const text = await ok(guest, 'journalctl --boot --catalog --no-hostname --unit docker-preloader');
    const after = (start: RegExp): string => text.slice(text.search(start));
    assert.match(
      after(/disk dpl-a: found on/),
      /^disk dpl-a: found on \/dev\/loop\d+, ext4, \d[^\n]*\n░░ Subject: A device with a wanted label was found\n[^]*?The device \/dev\/loop\d+ has the label dpl-a/,
    );
    assert.match(
      after(/disk dpl-a: \/dev/),
      /^disk dpl-a: \/dev\/loop\d+ mounted read-only on [^\n]*: 1 image, 2 layers\n░░ Subject: A disk was mounted\n/,
    );
    assert.match(
      after(/disk dpl-01 \(/),
      /^disk dpl-01 \([^\n]*run e2fsck[^\n]*\n░░ Subject: The filesystem was not unmounted cleanly[^]*?`e2fsck -f DISK`/,
    );
    assert.match(
      after(/degraded: /),
      /^degraded: [^\n]*2 disks, 2 images[^\n]*\n░░ Subject: The run ended, but something was left out\n/,
    );
    assert.equal(
      text.match(/^[^░]*docker-preloader\[\d+\]:/gm)?.length,
      text.match(/^░░ Defined-By: docker-preloader$/gm)?.length,
      'each of our entries is explained',
    );
  });

  it('each entry can be found by its fields, and is of the file that it arose in', async () => {
    const find = async (match: string): Promise<readonly Readonly<Record<string, string>>[]> =>
      (await ok(guest, `journalctl --boot --output=json ${match}`))
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, string>);
    const [dirty, ...more] = await find('PRELOADER_CODE=DISK_DIRTY');
    assert.deepEqual(more, []);
    assert.partialDeepStrictEqual(dirty, {
      MESSAGE_ID: messages.DISK_DIRTY.id,
      PRELOADER_LABEL: 'dpl-01',
      PRIORITY: '4',
      CODE_FILE: 'agent/boot/discover.ts',
      SYSLOG_IDENTIFIER: 'docker-preloader',
      _SYSTEMD_UNIT: 'docker-preloader.service',
    });
    assert.match(dirty?.['PRELOADER_DEVICE'] ?? '', /^\/dev\/loop\d+$/);
    assert.deepEqual(
      (await find(`_SYSTEMD_UNIT=docker-preloader.service PRELOADER_LABEL=dpl-b`))
        .map(({ PRELOADER_CODE }) => PRELOADER_CODE)
        .slice(0, 2),
      ['DISK_FOUND', 'DISK_MOUNTED'],
    );
    assert.equal((await find(`MESSAGE_ID=${messages.DEGRADED.id} _SYSTEMD_UNIT=docker-preloader.service`)).length, 1);
  });

  it("`systemctl status` shows the result, also that of Docker's next start", async () => {
    assert.match(
      await ok(guest, 'systemctl status docker-preloader'),
      /Status: "degraded: disk dpl-01 .*; 2 disks, 2 images, 3 layers, .*"/,
    );
    const device = await attach(disks('dpl-02').raw);
    await guest.plug(device.device);
    await until(
      guest,
      "systemctl show docker-preloader --property=StatusText | grep -E '3 disks, 3 images, 4 layers, [0-9]+ changes pending: run systemctl restart docker'",
    );
    await until(guest, 'docker-preloader status | grep -E "^image-dpl-02:1 .* no: PENDING$"');
    assert.match(
      await ok(guest, 'journalctl --boot --output=cat PRELOADER_CODE=DOCKER_RUNNING'),
      /^dockerd is running: \d+ changes wait/,
    );
  });

  it('a client that starts the agent gets an answer, and the store stays as it is', async () => {
    await ok(guest, 'systemctl stop docker.socket docker.service docker-preloader.service');
    const before = await ok(guest, storeNow);
    const status = statusSchema.parse(JSON.parse(await ok(guest, `${examples[0] ?? ''} --silent`)));
    assert.equal((await unitProperties(guest, 'docker-preloader.service', ['ActiveState']))['ActiveState'], 'active');
    assert.ok(status.pending.length > 0, 'there is something that it could have done');
    assert.deepEqual(
      [status.dockerRunning, status.applied, status.disks.find(({ label }) => label === 'dpl-02')?.state],
      [false, false, 'pending'],
    );
    assert.equal(await ok(guest, storeNow), before);
    assert.match(
      await ok(guest, 'journalctl --boot --output=cat PRELOADER_CODE=PENDING PRELOADER_CODE=DISK_ADOPTED'),
      /was mounted on .* already and is used as it is[^]*wait for Docker's next start/,
    );

    await ok(guest, 'systemctl start docker.socket docker.service');
    assert.equal(await nameInContainer(guest, disks('dpl-02').image), disks('dpl-02').image);
    await until(
      guest,
      "systemctl show docker-preloader --property=StatusText | grep -E '3 disks, 3 images, 4 layers, [0-9]+ changes, '",
    );
    assert.match((await guest.run('docker-preloader status')).stdout, /^image-dpl-02:1 .* yes$/m);
  });

  it('`status --watch` prints again when something changes, and ends with Ctrl-C', async () => {
    // In the foreground, for a shell lets what runs in its background ignore Ctrl-C.
    const { code } = await guest.run(
      `lines() { for _ in $(seq 300); do [ "$(wc -l < /run/watched)" -ge $1 ] && return; sleep 0.1; done; }
      : > /run/watched
      ( lines 1; systemctl restart docker; lines 2; kill -INT $(cat /run/watch.pid) ) > /dev/null 2>&1 &
      sh -c 'echo $$ > /run/watch.pid; exec docker-preloader status --json --watch' > /run/watched`,
      120,
    );
    assert.equal(code, 130);
    const states = (await ok(guest, 'cat /run/watched'))
      .split('\n')
      .map((line) => statusSchema.parse(JSON.parse(line)).summary);
    assert.ok(states.length >= 2, states.join('\n'));
    assert.equal(new Set(states).size, states.length);
  });

  it('`status --watch` ends when nobody reads it any more, also where nothing changes', async () => {
    const { code, stdout } = await guest.run(
      "timeout 60 sh -c 'docker-preloader status --json --watch | head -n 1'",
      120,
    );
    assert.equal(code, 0, 'the time limit');
    assert.equal(statusSchema.parse(JSON.parse(stdout)).disks.length, 4);
  });

  it('without a daemon it says so, and where to look', async () => {
    await ok(guest, 'systemctl stop docker-preloader.socket docker-preloader.service');
    const { code, stdout, stderr } = await guest.run('docker-preloader status');
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(
      stderr,
      /^docker-preloader: no daemon answers on \S+: [^\n]*; look at: systemctl status docker-preloader, journalctl -b -x -u docker-preloader; what the last run found is in \/run\/docker-preloader\/status\.json\n$/,
    );
    assert.match(await fails(guest, `${examples[0] ?? ''}`), /curl: \(7\)/);
  });

  it("the first client of a boot in which nothing has started Docker changes nothing either; Docker's start does", async () => {
    await ok(
      guest,
      'systemctl stop docker.socket docker.service && docker-preloader unlink && systemctl disable docker.service',
    );
    await guest.reboot();
    assert.equal((await unitProperties(guest, 'docker.service', ['ActiveState']))['ActiveState'], 'inactive');
    // The early client has started the agent.
    await until(guest, 'test -s /run/early.json');
    const status = statusSchema.parse(JSON.parse(await ok(guest, 'cat /run/early.json')));
    assert.deepEqual(
      [status.applied, status.changes, status.pending.length > 0],
      [false, 0, true],
      JSON.stringify(status),
    );
    assert.equal(
      await ok(
        guest,
        'ls /var/lib/docker/overlay2 | grep -vx l; ls /var/lib/docker/docker-preloader | grep ledger; true',
      ),
      '',
    );
    // docker.socket starts Docker, and that fills the store.
    assert.deepEqual((await dockerImages(guest)).slice(0, 2), [disks('dpl-02').image, disks('dpl-a').image]);
    await guest.poweroff();
  });
});
