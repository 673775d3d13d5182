import { rm, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { ok } from '../support/guest.ts';
import type { DebianSuite } from '../support/debian-packages.ts';
import { makeVirtualMachine, type VirtualMachine } from '../support/qemu.ts';
import { tempTree } from '../support/temp-tree.ts';
import { CutMachine } from './cut-machine.ts';
import { powerLossDisks, powerLossGuest } from './power-loss-guest.ts';

/**
 * A machine whose power is cut. Its root disk, with Docker's data root on it, is an ext4 on a raw file that QEMU writes
 * to: what the guest's kernel has written is on this machine and stays, what it still had in its page cache is lost.
 */
export class PowerLossMachine extends CutMachine {
  /** A copy of the guest's data root, as it was when it was last looked at. */
  readonly store: string;
  readonly #disks: Awaited<ReturnType<typeof powerLossDisks>>;

  private constructor(vm: VirtualMachine, store: string, disks: Awaited<ReturnType<typeof powerLossDisks>>) {
    super(vm);
    this.store = store;
    this.#disks = disks;
  }

  static async make(suite: DebianSuite): Promise<PowerLossMachine> {
    const files = await tempTree('dpl-power-loss');
    const disks = await powerLossDisks(files.path);
    const store = path.join((await tempTree('dpl-power-loss', 'in-memory')).path, 'store');
    return new PowerLossMachine(await makeVirtualMachine({ suite, ...(await powerLossGuest()) }), store, disks);
  }

  /**
   * Boots, to systemd or only so far that the agent can be run, and looks at the store before anything has touched it.
   */
  async boot(kind: 'whole' | 'agentOnly'): Promise<void> {
    await this.bootWith(this.#disks[kind]);
    await this.look();
  }

  /** Lets systemd go on, and waits for Docker. */
  async startDocker(): Promise<void> {
    await this.letSystemdGoOn();
    // Asked from here, so that a failed start is told at once and a slow one is waited for.
    for (const end = performance.now() + DOCKER_TIMEOUT_SEC * 1000; ; await delay(1000)) {
      const { stdout } = await this.vm.run('systemctl is-active docker');
      if (stdout.trim() === 'active') return;
      if (stdout.trim() === 'failed' || performance.now() > end) {
        throw new Error(
          `Expected Docker to start, it is ${stdout}: ${(await this.vm.run('journalctl -b -u docker -u docker-preloader -n 40')).stdout}`,
        );
      }
    }
  }

  async letSystemdGoOn(): Promise<void> {
    await ok(this.vm, 'touch /run/looked');
  }

  /** Copies the guest's data root to `store`. Docker must not run, or not change much. */
  async look(): Promise<void> {
    const packed = await ok(this.vm, 'mkdir -p /var/lib/docker && tar -C /var/lib/docker -czf - . | base64 -w 0', 300);
    await rm(this.store, { recursive: true, force: true });
    await mkdir(this.store, { recursive: true });
    await execa('tar', ['-C', this.store, '-xzpf', '-'], { input: Buffer.from(packed, 'base64') });
  }
}

/** Four times what it takes emulated on a busy machine. */
const DOCKER_TIMEOUT_SEC = 600;
