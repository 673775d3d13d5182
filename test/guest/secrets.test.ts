import assert from 'node:assert/strict';
import path from 'node:path';
import { writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { ok } from '../support/guest.ts';
import { packageFile, packageInGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { guestSkopeo } from '../support/guest-skopeo.ts';
import { authFileFor, basicAuth, htpasswd } from '../support/guarded-registry.ts';
import { bootContainer, type Container } from '../support/nspawn.ts';
import { tempTree } from '../support/temp-tree.ts';

const user = { name: 'somebody', password: 'not-to-be-seen-7a1c' };
const stranger = { ...user, name: 'stranger' };
const address = '127.0.0.1:5000';
const image = `docker://${address}/team/app:1`;
const disk = `docker://${address}/disks/app:1`;
const patterns = [user.password, basicAuth(user), basicAuth(stranger)].map((one) => `-e '${one}'`).join(' ');
/** Not the test's own files, of /root. */
const places = '/etc /run /tmp /usr/local /var /root/out';

/**
 * Who builds and pulls in services has what they say in the journal, with the arguments of the processes that say it.
 */
describe('the password of a registry, where a service builds and pulls', () => {
  let guest: Container;
  before(async () => {
    const { path: folder } = await tempTree('dpl-journal');
    const layers = [[{ name: 'a', content: 'a\n' }]];
    writeFileSync(path.join(folder, 'app.tar'), await dockerArchive([{ tags: ['app:1'], layers }]));
    const { files, setup } = await guestSkopeo();
    guest = await bootContainer({
      suite: chosenSuite('trixie'),
      files: {
        ...files,
        [packageInGuest]: { copyOf: packageFile() },
        '/root/app.tar': { copyOf: path.join(folder, 'app.tar') },
        '/root/right.json': authFileFor({ address }, user),
        '/root/wrong.json': authFileFor({ address }, stranger),
        '/root/list': `docker://${user.name}:${user.password}@${address}/team/app:1\n`,
        '/root/htpasswd': await htpasswd(user),
        '/root/registry.yml': `version: 0.1\nstorage: {filesystem: {rootdirectory: /root/registry}}\nhttp: {addr: "${address}"}\nauth: {htpasswd: {realm: registry, path: /root/htpasswd}}\n`,
      },
      setup: `${setup}\nmkdir /root/out\ndpkg -i ${packageInGuest}`,
    });
    await ok(guest, 'systemd-run --quiet --unit=registry docker-registry serve /root/registry.yml');
    const copy = 'skopeo copy --quiet --dest-tls-verify=false --dest-authfile=/root/right.json';
    await ok(guest, `until ${copy} docker-archive:/root/app.tar ${image}; do sleep 0.2; done`);
  });
  after(cleanUpAll);

  /** Runs a command of the agent as a service, with no other output than the journal. @returns its exit status */
  const serve = async (...args: readonly string[]): Promise<number> =>
    (await guest.run(`systemd-run --quiet --wait docker-preloader ${args.join(' ')}`)).code;

  it('is in no journal, no log, and no file but those where it was put', async () => {
    const right = ['--insecure', '--authfile', '/root/right.json'];
    const wrong = ['--insecure', '--authfile', '/root/wrong.json'];
    assert.equal(await serve('build', image, '-o', '/root/out/built.raw', '--lock', '/root/out/lock', ...right), 0);
    assert.equal(await serve('build', image, '--push', disk, '--json', ...right), 0);
    assert.equal(await serve('pull', disk, '-o', '/root/out/pulled.qcow2', '--json', ...right), 0);
    assert.equal(await serve('build', image, '-o', '/root/out/no.raw', ...wrong), 1);
    assert.equal(await serve('build', '/root/app.tar', '--push', disk, ...wrong), 1);
    assert.equal(await serve('pull', disk, '-o', '/root/out/no.qcow2', ...wrong), 1);
    assert.equal(await serve('build', '--file', '/root/list', '-o', '/root/out/no.raw', ...right), 2);
    await ok(guest, 'journalctl --sync');

    // All fields of all entries, of which many have the command lines of who has written them.
    const journal = 'journalctl --boot --all --output=export';
    const said = await ok(guest, journal);
    for (const part of [
      /^MESSAGE=asking for docker:\/\/127\.0\.0\.1:5000\/team\/app:1$/m,
      /^MESSAGE=docker-preloader: docker:\/\/\S+: skopeo: .*: log in with skopeo login, or name a file/m,
      /^MESSAGE=.*found a user before the host: log in/m,
      /^_CMDLINE=.*docker-preloader.* pull .*--authfile \/root\/right\.json$/m,
      /^PRELOADER_CODE=BUILD_FAILED$/m,
    ])
      assert.match(said, part);
    assert.equal((await guest.run(`${journal} | grep -aF ${patterns}`)).stdout, '');
    assert.equal((await guest.run(`grep -rlaF ${patterns} ${places} /root/registry`)).stdout, '');
    // They are found where they are.
    assert.equal(
      await ok(guest, `grep -rlaF ${patterns} /root --exclude-dir=out | sort`),
      ['list', 'right.json', 'wrong.json'].map((name) => `/root/${name}`).join('\n'),
    );
    await guest.poweroff();
  });
});
