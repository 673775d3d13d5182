import type { Attach } from './attachment.ts';
import { forCloudHypervisor } from './cloud-hypervisor.ts';
import { forFirecracker } from './firecracker.ts';
import { forKubevirt } from './kubevirt.ts';
import { forLibvirt } from './libvirt.ts';
import { forProxmox } from './proxmox.ts';
import { forQemu } from './qemu.ts';
import { forVagrant } from './vagrant.ts';

/** Those for which `attach` knows what to say. */
export const hypervisors: Readonly<Record<string, Attach>> = {
  qemu: forQemu,
  libvirt: forLibvirt,
  proxmox: forProxmox,
  'cloud-hypervisor': forCloudHypervisor,
  firecracker: forFirecracker,
  kubevirt: forKubevirt,
  vagrant: forVagrant,
};

/** Where the places on a bus are numbered, so that the first free one has to be known. */
export const numbered: readonly string[] = ['libvirt', 'proxmox'];
