import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { aDisk, made } from './some-disks.ts';

const disks = [aDisk('dpl-a', { format: 'raw' }), aDisk('dpl-b', { format: 'raw', path: '/srv/b, c.raw' })];
const required = 'dpl-a,dpl-b';

type Type = 'string' | 'boolean' | 'integer' | RegExp;
type Fields = Readonly<Record<string, Type>>;

/** Each value has the type of a field of its name. */
function conforms(found: Readonly<Record<string, unknown>>, fields: Fields, needed: readonly string[] = []): void {
  for (const [name, value] of Object.entries(found)) {
    const type = fields[name];
    assert.ok(type !== undefined, `expected one of ${Object.keys(fields).join(', ')}, found ${name}`);
    if (type instanceof RegExp) assert.match(String(value), type, name);
    else if (type === 'integer') assert.ok(Number.isInteger(value), name);
    else assert.equal(typeof value, type, name);
  }
  for (const name of needed)
    assert.ok(Object.hasOwn(found, name), `expected ${name} among ${Object.keys(found).join(', ')}`);
}

/**
 * What is printed for hypervisors that no test runs has the fields that they publish. They are named here as they are
 * in: Cloud Hypervisor 53, vmm/src/api/openapi/cloud-hypervisor.yaml and vmm/src/config.rs; Firecracker of August 2026,
 * src/firecracker/swagger/firecracker.yaml; KubeVirt 1.9, api, core/v1/schema.go; Proxmox's qemu-server of August 2026,
 * PVE/QemuServer/Drive.pm and QemuServer.pm, which qm.conf(5) is made of; vagrant-libvirt 0.12,
 * docs/configuration.markdown, lib/vagrant-libvirt/config.rb and templates/domain.xml.erb.
 */
describe('what attach prints has the fields that are published', () => {
  it('by Cloud Hypervisor', () => {
    const words = made('cloud-hypervisor', disks, { required }).arguments ?? [];
    assert.deepEqual(
      words.filter((word) => word.startsWith('--')),
      ['--platform', '--disk'],
    );
    const fields: Fields = {
      path: /^\//,
      readonly: /^(on|off)$/,
      // VIRTIO_BLK_ID_BYTES
      serial: /^.{1,20}$/,
      image_type: /^(raw|qcow2|vhd|vhdx)$/,
      pci_segment: /^\d+$/,
    };
    const read = words.slice(3).map(parameters);
    for (const one of read) conforms(one, fields, ['path', 'readonly']);
    assert.deepEqual(
      read.map(({ path }) => path),
      disks.map(({ path }) => path),
    );
    const platform = parameters(words[1] ?? '');
    conforms(platform, { num_pci_segments: /^\d+$/, oem_strings: /^\[[^,\][]+\]$/ }, ['oem_strings']);
  });

  it('by Firecracker', () => {
    const document = JSON.parse(made('firecracker', disks, { required }).text) as Readonly<
      Record<'boot-source', Readonly<Record<string, unknown>>> &
        Record<'drives', readonly Readonly<Record<string, unknown>>[]>
    >;
    assert.deepEqual(Object.keys(document), ['boot-source', 'drives']);
    conforms(document['boot-source'], { kernel_image_path: 'string', boot_args: 'string', initrd_path: 'string' });
    for (const drive of document.drives)
      conforms(
        drive,
        {
          // api_server/parsed_request.rs, checked_id
          drive_id: /^[A-Za-z0-9_]+$/,
          path_on_host: 'string',
          is_root_device: 'boolean',
          is_read_only: 'boolean',
          partuuid: 'string',
          cache_type: /^(Unsafe|Writeback)$/,
          io_engine: /^(Sync|Async)$/,
        },
        ['drive_id', 'is_root_device', 'is_read_only', 'path_on_host'],
      );
  });

  it('by KubeVirt', () => {
    const paths = leaves(made('kubevirt', disks, { required }).text);
    const [spec, disk, volume] = [
      'spec.template.spec',
      'spec.template.spec.domain.devices.disks',
      'spec.template.spec.volumes',
    ];
    const fields: Readonly<Record<string, RegExp>> = {
      // DNS_LABEL
      [`${disk}.name`]: /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/,
      [`${disk}.serial`]: /^".+"$/,
      [`${disk}.disk.bus`]: /^(virtio|sata|scsi|usb)$/,
      [`${disk}.disk.readonly`]: /^(true|false)$/,
      [`${volume}.name`]: /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/,
      [`${volume}.containerDisk.image`]: /^"\$REGISTRY\/[a-z0-9-]+:[a-z0-9]+"$/,
      [`${volume}.containerDisk.path`]: /^\/disk\/dpl-[ab]\.img$/,
    };
    assert.equal(paths.length, disks.length * 7, spec);
    for (const [path, value] of paths) assert.match(value, fields[path] ?? assert.fail(path));
  });

  it('by Proxmox', () => {
    const lines = made('proxmox', [aDisk('dpl-a')], { required })
      .text.trimEnd()
      .split('\n');
    const [, place, drive] = /^qm set "\$VMID" --virtio(\d+) (\S+)$/.exec(lines[0] ?? '') ?? assert.fail(lines[0]);
    assert.ok(Number(place) < 16);
    const [file, ...properties] = (drive ?? '').split(',');
    assert.match(file ?? '', /^\//);
    conforms(
      Object.fromEntries(properties.map((property) => property.split('='))) as Readonly<Record<string, unknown>>,
      {
        format: /^(raw|qcow|qed|qcow2|vmdk|cloop)$/,
        ro: /^[01]$/,
        backup: /^[01]$/,
        replicate: /^[01]$/,
        // Up to 20 bytes, of which none has to be encoded.
        serial: /^[A-Za-z0-9._~-]{1,20}$/,
      },
    );
    assert.match(lines[1] ?? '', /^qm set "\$VMID" --args '-smbios type=11,value=[^ ']*'$/);
  });

  it('by vagrant-libvirt', () => {
    const lines = made('vagrant', disks, { required }).text.trimEnd().split('\n');
    assert.deepEqual(lines.slice(0, 2), [
      'Vagrant.configure("2") do |config|',
      '  config.vm.provider :libvirt do |libvirt|',
    ]);
    assert.deepEqual(lines.slice(-2), ['  end', 'end']);
    for (const line of lines.slice(2, -3)) assert.match(line, /^ {4}libvirt\.qemuargs :value => '[^']*'$/);
    assert.match(
      lines.at(-3) ?? '',
      /^ {4}libvirt\.sysinfo = \{ 'oem strings' => \['io\.systemd\.credential:[^']*'\] \}$/,
    );
  });
});

/** `key=value` between commas, but in quotes and brackets, as option_parser has them. */
function parameters(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    [...text.matchAll(/([a-z_]+)=((?:"[^"]*"|\[[^\]]*\]|[^,"[])*)(?:,|$)/g)].map(([, key, value]) => [
      key,
      (value ?? '').replaceAll(/"([^"]*)"/g, '$1'),
    ]),
  ) as Readonly<Record<string, string>>;
}

/** The leaves of YAML that has but mappings, lists of mappings and plain values. */
function leaves(yaml: string): (readonly [string, string])[] {
  const above: { readonly indent: number; readonly key: string }[] = [];
  return yaml.split('\n').flatMap((line): (readonly [string, string])[] => {
    const [, indent, dash, key, value] = /^( *)(- )?([a-zA-Z]+):(?: (.*))?$/.exec(line) ?? [];
    if (indent === undefined || key === undefined) {
      assert.match(line, /^(#.*)?$/);
      return [];
    }
    const depth = indent.length + (dash?.length ?? 0);
    while ((above.at(-1)?.indent ?? -1) >= depth) above.pop();
    above.push({ indent: depth, key });
    return value === undefined ? [] : [[above.map((one) => one.key).join('.'), value]];
  });
}
