import type { Attach } from './attachment.ts';
import { credentialString } from './credentials.ts';
import { manyNotes, qemuArguments } from './qemu.ts';
import { rubyText } from './quoting.ts';

/**
 * For a Vagrantfile with vagrant-libvirt. Its own `storage :file` cannot be read-only (templates/domain.xml.erb), so that
 * these are arguments for QEMU.
 */
export const forVagrant: Attach = ({ disks, required }) => {
  const lines = [
    'Vagrant.configure("2") do |config|',
    '  config.vm.provider :libvirt do |libvirt|',
    ...qemuArguments(disks, undefined).map((word) => `    libvirt.qemuargs :value => ${rubyText(word)}`),
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
