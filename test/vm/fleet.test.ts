import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { agentCommand } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { ok, until } from '../support/guest.ts';
import { agentStatus, dockerImages, nameInContainer, packageFile, packageInGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { authFileFor, startGuardedRegistry } from '../support/guarded-registry.ts';
import { imageTools, type ImageTools } from '../support/image-tools.ts';
import { busyboxRoot } from '../support/images.ts';
import { connectGuest, guestDomain, startLibvirtHost, type LibvirtHost } from '../support/libvirt.ts';
import { torture } from '../support/size.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';

const root = path.resolve(import.meta.dirname, '../..');
const user = { name: 'fleet', password: 'fleet-password' };
/** What the README calls the registry, on an address that nobody else has. */
const registryName = 'registry.example';
const registryAddress = '127.0.0.77';
const images = ['app:1', 'db:2'];
const named = images.map((name) => `${registryName}/${name}`);

/** The commands of the README, as they stand there, without what is said of them. */
function fleetCommands(): readonly string[] {
  const section = /\n## A fleet in six commands\n.*?```sh\n(.*?)```/s.exec(
    readFileSync(path.join(root, 'README.md'), 'utf8'),
  );
  return (section?.[1] ?? '')
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/\s+#.*$/, ''));
}

/** Ports that disks can be plugged into, as virt-install makes them for machines of this kind. */
const ports = `<controller type='pci' model='pcie-root'/>${"<controller type='pci' model='pcie-root-port'/>".repeat(8)}`;

describe("the README's fleet in six commands", () => {
  const [login = '', build = '', pull = '', diff = '', attachDisk = '', enable = ''] = fleetCommands();
  let tree: TempTree;
  let tools: ImageTools;
  let host: LibvirtHost;
  const at = (name: string): string => path.join(tree.path, name);
  /** Runs a command on the host as the README has it. */
  const run = (command: string): Promise<string> =>
    host.bash(command, { ...tools.env, PATH: `${at('programs')}:${tools.env.PATH}`, XDG_RUNTIME_DIR: at('runtime') });

  before(async () => {
    await ensureDebianPackages(['qemu-utils', 'openssl'], { install: true });
    tree = await tempTree('dpl-six');
    for (const folder of ['registry', 'programs', 'runtime']) mkdirSync(at(folder));
    tools = await imageTools(tree.path);
    const program = `#!/bin/sh\nexec ${agentCommand()
      .map((word) => `'${word}'`)
      .join(' ')} "$@"\n`;
    writeFileSync(at('programs/docker-preloader'), program, { mode: 0o755 });
    await startGuardedRegistry(at('registry'), user, { name: registryName, listen: `${registryAddress}:443` });
    const trusted = path.join(tools.env.HOME, '.config/containers/certs.d', registryName);
    mkdirSync(trusted, { recursive: true });
    writeFileSync(path.join(trusted, 'ca.crt'), readFileSync(at('registry/certificate.pem')));
    host = await startLibvirtHost(tree.path, `${registryAddress} ${registryName}\n`);
    const base = await busyboxRoot();
    for (const [index, name] of images.entries()) {
      const layers = [base, [{ name: 'name', content: `${named[index] ?? ''}\n` }]];
      writeFileSync(at(`${index}.tar`), await dockerArchive([{ tags: [name], layers }]));
    }
    writeFileSync(at('guest.xml'), await domainXml());
    await run('virsh define guest.xml');
  });
  after(cleanUpAll);

  /** Where it is not waited for, it needs no system. */
  function domainXml(): string | Promise<string> {
    if (!torture)
      return `<domain type='qemu'><name>GUEST</name><memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>${ports}</devices></domain>`;
    const content = { files: { [packageInGuest]: { copyOf: packageFile() } }, setup: `dpkg -i ${packageInGuest}` };
    return guestDomain(tree.path, 'GUEST', { suite: chosenSuite('trixie'), ...content }, { devices: ports });
  }

  it('has six', () => {
    assert.equal(fleetCommands().length, 6);
    for (const command of [login, build, pull, diff, attachDisk, enable]) assert.notEqual(command, '');
  });

  it('logs in, builds of the registry and pushes there, pulls, and tells what is new', async () => {
    // It asks on the terminal.
    writeFileSync(at('typed'), `${user.name}\n${user.password}\n`);
    assert.match(await run(`script --quiet --return --command '${login}' /dev/null < typed`), /Login Succeeded!/);
    assert.equal(
      JSON.stringify(JSON.parse(readFileSync(at('runtime/containers/auth.json'), 'utf8'))),
      authFileFor({ address: registryName }, user),
    );
    for (const [index, name] of named.entries())
      await run(`skopeo copy --quiet docker-archive:${index}.tar docker://${name}`);
    // The disk of before.
    await run('docker-preloader build 0.tar=registry.example/app:1 -o old.qcow2 --quiet');
    assert.match(
      await run(build),
      /^docker:\/\/registry\.example\/disks\/shop@sha256:\w{64}: label dpl-\w+, images 2, /,
    );
    assert.match(
      await run(pull),
      /^shop\.qcow2: label dpl-\w+, 2 images, 3 layers, .* from docker:\/\/registry\.example\/disks\/shop@sha256:/,
    );
    const told = await run(`${diff} || test $? -eq 1`);
    assert.match(told, /registry\.example\/db:2/);
  });

  it("attaches it by libvirt's own virsh, read-only", async () => {
    await run('virsh start GUEST');
    if (torture) {
      const guest = await connectGuest(tree.path, host.said);
      await ok(guest, 'test ! -e /dev/vdb');
      await run(attachDisk);
      await until(guest, 'test "$(blockdev --getro /dev/vdb)" = 1', 60);
      await ok(guest, `(${enable})`);
      await guest.ready(300);
      await until(guest, 'systemctl is-active docker', 240);
      assert.deepEqual(await dockerImages(guest), named);
      for (const name of named) assert.equal(await nameInContainer(guest, name), name);
      assert.equal((await agentStatus(guest)).state, 'ok');
    } else await run(attachDisk);
    // As it runs, and as it is started next.
    for (const which of ['', '--inactive']) {
      const disks = (await run(`virsh dumpxml ${which} GUEST`)).split('<disk ').slice(1);
      const disk = disks.find((text) => text.includes(at('shop.qcow2'))) ?? assert.fail(disks.join('\n'));
      assert.match(disk, /<driver name='qemu' type='qcow2'\/>/);
      assert.match(disk, /<target dev='vdb' bus='virtio'\/>/);
      assert.match(disk, /<readonly\/>/);
    }
  });
});
