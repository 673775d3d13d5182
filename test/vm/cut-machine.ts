import { setTimeout as delay } from 'node:timers/promises';
import { ok } from '../support/guest.ts';
import type { VirtualDisk, VirtualMachine } from '../support/qemu.ts';

/** A machine whose power is cut, and what the loops in it say on its console until then. */
export class CutMachine {
  readonly vm: VirtualMachine;
  #isOn = false;
  #consoleAtBoot = 0;

  constructor(vm: VirtualMachine) {
    this.vm = vm;
  }

  /** Boots, as far as the disks' serial numbers tell it to; where it is on, its power is cut before. */
  async bootWith(disks: readonly VirtualDisk[]): Promise<void> {
    if (this.#isOn) await this.cut();
    this.#consoleAtBoot = this.vm.console().length;
    // Also of a machine that hangs on its way.
    this.#isOn = true;
    await this.vm.boot(disks);
  }

  /** Has the kernel write soon, bit by bit; otherwise it does after seconds, or when told to. */
  async writeSoon(): Promise<void> {
    await ok(
      this.vm,
      'echo 20 > /proc/sys/vm/dirty_expire_centisecs && echo 10 > /proc/sys/vm/dirty_writeback_centisecs && mount -o remount,commit=1 /',
    );
  }

  /**
   * Has the agent run over and over, and waits for its first start.
   * @param words what it does, in turn: see `agentLoop`
   */
  async startAgents(words: readonly string[]): Promise<void> {
    await ok(this.vm, `setsid sh /usr/local/lib/power-loss-agent ${words.join(' ')} > /dev/null 2>&1 &`);
    await this.#heard('starting run 1,', 60);
  }

  /** Cuts the power. @returns what was last said to be going on */
  async cut(): Promise<string> {
    await this.vm.powerCut();
    this.#isOn = false;
    return this.said().at(-1) ?? 'nothing yet';
  }

  /** Waits until something is said in this boot. */
  async #heard(text: string, timeoutSec: number): Promise<void> {
    for (
      const end = performance.now() + timeoutSec * 1000;
      !this.said().some((line) => line.includes(text));
      await delay(50)
    ) {
      if (performance.now() > end)
        throw new Error(`Expected to hear '${text}' within ${timeoutSec} s, heard: ${this.said().join('; ')}`);
    }
  }

  /** What the loops in the guest have said in this boot. */
  said(): readonly string[] {
    return [
      ...this.vm
        .console()
        .slice(this.#consoleAtBoot)
        .matchAll(/^power-loss: (.*?)\r?$/gm),
    ].map(([, line = '']) => line);
  }
}
