import assert from 'node:assert/strict';
import { copyFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { type Guest, type GuestContent, ok, until } from '../support/guest.ts';
import { type GuestDisks, guestDisks, manyLabels } from '../support/guest-disks.ts';
import {
  agentStatus,
  dockerImages,
  type GuestStatus,
  nameInContainer,
  preloadedGuest,
} from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { bootInLibvirt, type LibvirtMachine, startDomain } from '../support/libvirt.ts';
import { makeVirtualMachine, type VirtualMachine } from '../support/qemu.ts';
import { tempTree } from '../support/temp-tree.ts';
import { torture } from '../support/size.ts';

const suite = chosenSuite('trixie');
const source = '/run/credentials/@system/docker-preloader.required';

/** What `attach` prints, and nothing else that it has to say. */
async function attached(hypervisor: string, disks: readonly string[], ...options: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await agent(['attach', '--for', hypervisor, ...options, ...disks]);
  assert.equal(exitCode, 0, stderr);
  return stdout;
}

/** Words as a shell reads them, behind a command. */
async function shellWords(text: string): Promise<readonly string[]> {
  const { stdout } = await execa('sh', ['-c', `eval "printf '%s\\\\0' $1"`, 'sh', text], { stripFinalNewline: false });
  return stdout.split('\0').slice(0, -1);
}

const settled = (guest: Guest): Promise<void> => until(guest, 'systemctl is-active docker', 240);

describe(`disks that are attached to Debian ${suite} as attach prints it`, () => {
  let disks: GuestDisks;
  let content: GuestContent;
  let inQemu: VirtualMachine;
  let inLibvirt: LibvirtMachine;
  /** Their names have all that ends a word somewhere, but newlines. One is raw. */
  let files: readonly string[];
  const labels = ['dpl-a', 'late-disk'];

  before(async () => {
    disks = await guestDisks();
    // Thirty disks can take an emulated udev longer than the 10 seconds that a glob is waited for.
    content = preloadedGuest({ deviceTimeoutSec: 200 });
    const { path: folder } = await tempTree('dpl-attach');
    files = [`a, 'b' "c" & <d> $(e) \`f\`\\.qcow2`, 'g,,h=i {j} #%&amp;.raw'].map((name) => path.join(folder, name));
    await copyFile(disks('dpl-a').qcow2, files[0] ?? '');
    await copyFile(disks('late-disk').raw, files[1] ?? '');
  });
  after(cleanUpAll);

  const isThere = async (guest: Guest): Promise<void> => {
    await settled(guest);
    for (const label of labels) {
      assert.equal(await nameInContainer(guest, disks(label).image), disks(label).image);
      const device = `/dev/disk/by-id/virtio-${label}`;
      assert.equal(await ok(guest, `blockdev --getro ${device} && blkid -o value -s LABEL ${device}`), `1\n${label}`);
    }
    const { required } = JSON.parse(await ok(guest, 'docker-preloader config --json')) as {
      required: { value: readonly string[]; source: string };
    };
    assert.equal(required.source, source);
    assert.deepEqual(
      required.value.map((text) => text.replace(/@sha256:[0-9a-f]{64}$/, '@')),
      labels.map((label) => `${label}@`),
    );
    assert.deepEqual(await agentStatus(guest).then(({ state, findings }) => [state, findings]), ['ok', []]);
  };

  it('are there in QEMU, read-only, by their serial numbers, and required with their digests', async () => {
    inQemu = await makeVirtualMachine({ suite, ...content });
    await inQemu.boot([], { args: await shellWords(await attached('qemu', files, '--digest')) });
    await isThere(inQemu);
  });

  it('are there in a domain of the real libvirt, at the same time', async () => {
    const text = await attached('libvirt', files, '--digest');
    const inside = (element: string): string =>
      new RegExp(`<${element}>\n(.*)</${element}>`, 's').exec(text)?.[1] ?? assert.fail(text);
    const sysinfo = /<sysinfo .*<\/sysinfo>/s.exec(text)?.[0] ?? assert.fail(text);
    inLibvirt = await bootInLibvirt(
      { suite, ...content },
      { os: inside('os'), devices: inside('devices'), domain: sysinfo },
    );
    await isThere(inLibvirt);
    await ok(inQemu, `docker run --rm --network none ${disks('dpl-a').image} cat /name`);
    await inLibvirt.end();
    await inQemu.poweroff();
  });

  // Each boot is half a minute where machines are emulated.
  if (torture)
    it('are there where they are more than a bus has slots; a CD-ROM that only a glob names is told of, and left out', async () => {
      const many = ['dpl-a', ...manyLabels];
      const words = await shellWords(
        await attached(
          'qemu',
          many.map((label) => disks(label).qcow2),
        ),
      );
      const cd = disks('dpl-b');
      await inQemu.boot([], {
        args: [
          ...words,
          '-drive',
          `file=${cd.raw},format=raw,if=none,id=cd,readonly=on`,
          '-device',
          'ide-cd,drive=cd',
          // In the form that a value with commas has for Cloud Hypervisor.
          '-smbios',
          `type=11,value=io.systemd.credential.binary:docker-preloader.readAheadMb=${Buffer.from('7').toString('base64')}`,
        ],
      });
      await settled(inQemu);
      assert.deepEqual(await dockerImages(inQemu), many.map((label) => disks(label).image).sort());
      for (const label of ['dpl-a', 'dpl-28']) {
        const device = await ok(inQemu, `readlink -f /dev/disk/by-label/${label}`);
        assert.equal(
          await ok(
            inQemu,
            `blockdev --getro ${device} && udevadm info --query=property --property=ID_SCSI_SERIAL --value ${device}`,
          ),
          `1\n${label}`,
        );
      }
      const { readAheadMb } = JSON.parse(await ok(inQemu, 'docker-preloader config --json')) as Record<string, unknown>;
      assert.deepEqual(readAheadMb, { value: 7, source: '/run/credentials/@system/docker-preloader.readAheadMb' });
      const told = (findings: readonly { readonly code: string; readonly label?: string }[]): unknown =>
        findings.filter(({ code }) => code !== 'DOCKER_RUNNING').map(({ code, label }) => [code, label]);
      const passedOver = [['DISK_REMOVABLE', 'dpl-b']];
      assert.deepEqual(told((await agentStatus(inQemu)).findings), passedOver);
      // The same where udev has read nothing.
      const withoutUdev = `unshare --mount sh -c 'mount -t tmpfs tmpfs /run/udev && docker-preloader plan --json; true'`;
      assert.deepEqual(told((JSON.parse(await ok(inQemu, withoutUdev)) as GuestStatus).findings), passedOver);
      // It counts once its label is written out.
      await ok(
        inQemu,
        `systemctl stop docker.socket docker && echo '{ "labels": ["dpl-*", "dpl-b"] }' > /etc/docker-preloader/config.json && systemctl restart docker-preloader && systemctl start docker`,
        240,
      );
      assert.equal(await nameInContainer(inQemu, cd.image), cd.image);
      assert.deepEqual(told((await agentStatus(inQemu)).findings), []);
      await inQemu.poweroff();
    });

  // Without Vagrant: what its template makes of that.
  it('start with the arguments that Vagrant is told, beside the devices that libvirt has', async () => {
    for (const [machine, labelsOf] of [
      ['pc', ['dpl-a', 'dpl-b']],
      ['q35', manyLabels],
    ] as const) {
      const text = await attached(
        'vagrant',
        labelsOf.map((label) => disks(label).qcow2),
      );
      const words = [...text.matchAll(/qemuargs :value => '((?:[^'\\]|\\.)*)'/g)].map(([, word]) =>
        (word ?? '').replaceAll(/\\(['\\])/g, '$1'),
      );
      const { path: folder } = await tempTree('dpl-vagrant');
      const domain = await startDomain(
        folder,
        path.basename(folder),
        `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>${path.basename(folder)}</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='${machine}'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <video><model type='cirrus'/></video>
    <sound model='ich6'/>
  </devices>
  <qemu:commandline>${words.map((word) => `<qemu:arg value='${word}'/>`).join('')}</qemu:commandline>
</domain>
`,
      );
      await domain.end();
    }
  });
});
