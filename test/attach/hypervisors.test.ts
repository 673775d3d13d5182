import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hypervisors } from '../../agent/attach/hypervisors.ts';
import { createProgram } from '../../agent/commands/program.ts';
import { aDisk, made, manyDisks } from './some-disks.ts';

const [a, b] = [aDisk('dpl-a'), aDisk('dpl-b', { path: '/dev/vg/b', isBlockDevice: true, format: 'raw' })];
const required = 'dpl-a,dpl-b';

/** What a path may have in it, but for what some hypervisors cannot take. */
const odd = aDisk('dpl-odd', { path: `/srv/a 'b' "c" [d] <e> & $(f)\\.qcow2` });

describe('attach', () => {
  it('is for those hypervisors that its help names', () => {
    const command = createProgram(() => undefined).commands.find((one) => one.name() === 'attach');
    const option = command?.options.find(({ long }) => long === '--for');
    assert.deepEqual(option?.argChoices, Object.keys(hypervisors));
  });

  it('tells QEMU of files and block devices, each with its own driver', () => {
    const { arguments: words, notes } = made('qemu', [a, b], { required });
    assert.deepEqual(notes, []);
    const [first, second] = (words ?? [])
      .filter((_, index) => words?.[index - 1] === '-blockdev')
      .map((word) => JSON.parse(word) as unknown);
    assert.deepEqual(first, {
      driver: 'qcow2',
      'node-name': 'preload-dpl-a',
      'read-only': true,
      file: { driver: 'file', filename: '/srv/dpl-a.qcow2', 'read-only': true },
    });
    assert.deepEqual(second, {
      driver: 'raw',
      'node-name': 'preload-dpl-b',
      'read-only': true,
      file: { driver: 'host_device', filename: '/dev/vg/b', 'read-only': true },
    });
    assert.deepEqual(
      words?.filter((_, index) => words[index - 1] === '-device'),
      ['virtio-blk-pci,drive=preload-dpl-a,serial=dpl-a', 'virtio-blk-pci,drive=preload-dpl-b,serial=dpl-b'],
    );
    assert.deepEqual(words?.slice(-2), [
      '-smbios',
      'type=11,value=io.systemd.credential:docker-preloader.required=dpl-a,,dpl-b',
    ]);
  });

  it('has names for nodes that QEMU takes, for each label', () => {
    // QEMU, util/id.c, id_wellformed: a letter first; block.c: less than 32 bytes.
    for (const label of ['0123456789abcdef', 'A.b_c-d'])
      assert.match(made('qemu', [aDisk(label)]).text, /"node-name":"[A-Za-z][A-Za-z0-9._-]{0,30}"/);
  });

  it('puts more disks than a bus has slots on a controller, and refuses more than that has', () => {
    const { text, notes } = made('qemu', manyDisks(17));
    assert.match(text, /^-device virtio-scsi-pci,id=preload \\\n/);
    assert.match(text, /^-device scsi-hd,bus=preload\.0,scsi-id=16,drive=preload-dpl-16,serial=dpl-16\n$/m);
    assert.doesNotMatch(text, /virtio-blk/);
    assert.match(notes.join('\n'), /virtio_scsi and sd_mod/);
    assert.doesNotMatch(made('qemu', manyDisks(16)).text, /scsi/);
    assert.match(made('vagrant', manyDisks(17)).notes.join('\n'), /virtio_scsi and sd_mod/);
    const places = [...made('vagrant', manyDisks(16)).text.matchAll(/,addr=(0x1[01]\.[0-7]),/g)].map(
      ([, addr]) => addr,
    );
    assert.equal(new Set(places).size, 16);
    for (const [hypervisor, most] of [
      ['qemu', 256],
      ['vagrant', 256],
      ['firecracker', 30],
      ['cloud-hypervisor', 24 * 96],
    ] as const) {
      made(hypervisor, manyDisks(most));
      assert.throws(
        () => made(hypervisor, manyDisks(most + 1)),
        new RegExp(`expected at most ${most} disks.*found ${most + 1}$`),
      );
    }
    made('proxmox', manyDisks(15));
    assert.throws(
      () => made('proxmox', manyDisks(16)),
      /^PreloaderError: \/srv\/15\.raw: expected a place up to virtio15, found none left/,
    );
    assert.throws(() => made('proxmox', [a], { first: 16 }), /found none left/);
    assert.match(
      made('cloud-hypervisor', manyDisks(25)).text,
      /--platform num_pci_segments=2 .*serial=dpl-23,image_type=raw path=\S*serial=dpl-24,image_type=raw,pci_segment=1\n/s,
    );
    assert.match(made('firecracker', manyDisks(17)).notes.join('\n'), /--enable-pci/);
    // libvirt adds ports for as many as there are, and names them as the kernel does.
    const targets = [...made('libvirt', manyDisks(800)).text.matchAll(/dev='(vd[a-z]+)'/g)].map(([, name]) => name);
    assert.equal(new Set(targets).size, 800);
    assert.deepEqual(
      [0, 24, 25, 26, 700, 701].map((index) => targets[index]),
      ['vdb', 'vdz', 'vdaa', 'vdab', 'vdzz', 'vdaaa'],
    );
  });

  it('begins at the first place that is free', () => {
    assert.match(made('libvirt', [a, b], { first: 3 }).text, /dev='vdd'.*dev='vde'/s);
    assert.match(made('proxmox', [a, b], { first: 3 }).text, /--virtio3 \/srv\/dpl-a.*--virtio4 \/dev\/vg\/b/s);
  });

  it('keeps names in one piece', () => {
    const escaped = `/srv/a &apos;b&apos; &quot;c&quot; [d] &lt;e&gt; &amp; $(f)\\.qcow2`;
    assert.ok(made('libvirt', [odd]).text.includes(`<source file='${escaped}'/>`));
    assert.ok(
      made('cloud-hypervisor', [odd]).arguments?.[1]?.startsWith(
        `path="/srv/a 'b' ""c"" [d] <e> & $(f)\\.qcow2",readonly=on,`,
      ),
    );
    const { drives } = JSON.parse(made('firecracker', [{ ...odd, format: 'raw' }]).text) as {
      drives: readonly { path_on_host: string }[];
    };
    assert.equal(drives[0]?.path_on_host, odd.path);
    // Ruby reads a word, ERB puts it between single quotes of XML as it is, and QEMU reads JSON.
    const word = /qemuargs :value => '(\{.*\})'$/m.exec(made('vagrant', [odd]).text)?.[1] ?? '';
    const json = word.replaceAll(/\\(['\\])/g, '$1');
    assert.doesNotMatch(json, /['<&]/);
    assert.equal((JSON.parse(json) as { file: { filename: string } }).file.filename, odd.path);
    // A name cannot end a comment, and so become a line of its own.
    const evil = aDisk('dpl-a', { path: '/srv/x\nspec: {}\u2028.qcow2' });
    assert.deepEqual(
      made('kubevirt', [evil])
        .text.split('\n')
        .filter((line) => line.startsWith('spec')),
      ['spec:'],
    );
  });

  it('has a name for COPY that is no pattern and has no variables in it, and says what to call the file', () => {
    const comment = (name: string): [copied: string | undefined, notes: string] => {
      const { text, notes } = made('kubevirt', [aDisk('dpl-a', { path: `/srv/${name}` })]);
      return [/COPY --chown=107:107 (\[.*\])$/m.exec(text)?.[1], notes.join('\n')];
    };
    assert.deepEqual(comment('a_1.0=x.qcow2')[0], '["a_1.0=x.qcow2","/disk/dpl-a.qcow2"]');
    assert.doesNotMatch(comment('a_1.0=x.qcow2')[1], /hard link/);
    for (const name of ['a[1].qcow2', 'a*', 'a b', '$HOME', "it's", 'a\\b', 'a\nb', '\u00e4', '-a', ' a', '"a"']) {
      const [copied, notes] = comment(name);
      assert.equal(copied, '["dpl-a.qcow2","/disk/dpl-a.qcow2"]', name);
      assert.match(notes, /would mean others: give it a hard link dpl-a\.qcow2, as the comment has it/);
    }
  });

  it('tells Proxmox of a name with an equals sign as one, which it would take for a key otherwise', () => {
    const withName = (name: string): string => made('proxmox', [aDisk('dpl-a', { path: `/srv/${name}` })]).text;
    assert.match(withName('a=b.qcow2'), /^qm set "\$VMID" --virtio1 file=\/srv\/a=b\.qcow2,format=qcow2,/);
    assert.match(withName('a b=c'), /--virtio1 'file=\/srv\/a b=c,format=qcow2,.*'$/m);
    // The first `=` of each part ends a key (pve-common, PVE/JSONSchema.pm, parse_property_string).
    for (const name of ['a', 'a=b', '=', 'a b'])
      for (const part of withName(name)
        .split(' --virtio1 ')[1]
        ?.trim()
        .replace(/^'(.*)'$/, '$1')
        .split(',') ?? [])
        assert.match(part, /^(?:(?:file|format|ro|serial|backup|replicate)=.+|[^=]+)$/);
  });

  it('refuses names that a hypervisor cannot be told, and says what to do', () => {
    const withName = (name: string): (typeof a)[] => [aDisk('dpl-a', { path: `/srv/${name}` })];
    for (const [hypervisor, name, says] of [
      ['proxmox', 'a,b', /expected a path without commas and control characters for Proxmox, .*make a link to it$/],
      ['proxmox', 'a\nb', /make a link to it$/],
      [
        'cloud-hypervisor',
        'a\nb',
        /expected a path without control characters for Cloud Hypervisor, .*make a link to it$/,
      ],
      ['libvirt', 'a\u001bb', /expected a path that XML can hold, .*make a link to it$/],
    ] as const)
      assert.throws(() => made(hypervisor, withName(name)), says);
    assert.throws(() => made('firecracker', [a]), /expected a raw image, as Firecracker reads no other, found a qcow2/);
    assert.match(made('libvirt', withName('a\nb')).text, /file='\/srv\/a&#10;b'/);
    assert.match(made('qemu', withName('a\nb')).text, /"filename":"\/srv\/a\\nb"/);
  });

  it('gives each disk a name of its own where labels differ only by what a name cannot have', () => {
    const alike = ['dpl-a', 'dpl.a', 'DPL_A', 'dpl-a-'].map((label) => aDisk(label, { format: 'raw' }));
    const names = [...made('kubevirt', alike).text.matchAll(/- name: (\S+)/g)].map(([, name]) => name);
    assert.deepEqual(names.slice(0, 4), ['preload-dpl-a', 'preload-dpl-a-2', 'preload-dpl-a-3', 'preload-dpl-a-4']);
    assert.deepEqual(names.slice(4), names.slice(0, 4));
    const { drives } = JSON.parse(made('firecracker', alike).text) as { drives: readonly { drive_id: string }[] };
    assert.equal(new Set(drives.map(({ drive_id }) => drive_id)).size, 4);
  });

  it('brings what is required in each way that there is, and nothing where nothing is', () => {
    for (const hypervisor of Object.keys(hypervisors)) {
      const raw = [aDisk('dpl-a', { format: 'raw' }), b];
      assert.doesNotMatch(made(hypervisor, raw).text, /required|smbios|sysinfo|platform|boot_args/);
      const { text, notes } = made(hypervisor, raw, { required });
      assert.match([text, ...notes].join('\n'), /docker-preloader\.required=|docker_preloader\.required=dpl-a,dpl-b/);
    }
    // Without a comma it can be read; with one, it is coded.
    assert.match(
      made('cloud-hypervisor', [a], { required: 'dpl-a' }).text,
      /oem_strings=\[io\.systemd\.credential:docker-preloader\.required=dpl-a\]/,
    );
    const coded = /credential\.binary:docker-preloader\.required=([^\]]*)\]/.exec(
      made('cloud-hypervisor', [a, b], { required }).text,
    )?.[1];
    assert.equal(Buffer.from(coded ?? '', 'base64').toString(), required);
    assert.throws(
      () => made('firecracker', [aDisk('dpl-a', { format: 'raw' })], { required: 'x'.repeat(2048) }),
      /expected `required` to fit into a command line of 2048 bytes/,
    );
  });
});
