import type { Attach } from './attachment.ts';
import { credentialString } from './credentials.ts';
import { manyNotes, qemuArguments } from './qemu.ts';
import { rubyText } from './quoting.ts';

/**
 * QEMU makes these devices before those of libvirt, which come as JSON and have places, the first ones of the bus
 * (QEMU, softmmu/vl.c, qemu_create_cli_devices). From slot 16 on nothing is, neither of libvirt's nor of the machines
 * pc and q35.
 */
const place = (index: number): string =>
  `,multifunction=on,addr=0x${(16 + (index >> 3)).toString(16)}.${(index & 7).toString()}`;

/**
 * For a Vagrantfile with vagrant-libvirt. Its own `storage :file` cannot be read-only (templates/domain.xml.erb), so
 * that these are arguments for QEMU.
 */
export const forVagrant: Attach = ({ disks, required }) => {
  const lines = [
    'Vagrant.configure("2") do |config|',
    '  config.vm.provider :libvirt do |libvirt|',
    ...qemuArguments(disks, undefined, place).map((word) => `    libvirt.qemuargs :value => ${rubyText(word)}`),
    ...(required === undefined
      ? []
      : [`    libvirt.sysinfo = { 'oem strings' => [${rubyText(credentialString(required))}] }`]),
    '  end',
    'end',
  ];
  return {
    text: `${lines.join('\n')}\n`,
    notes: [
      'libvirt does not know of these disks: its QEMU must be allowed to read them (mode and AppArmor)',
      ...manyNotes(disks),
    ],
  };
};
