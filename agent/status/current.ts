import type { Config } from '../config/config.ts';
import type { Finding } from '../messages/finding.ts';
import { monotonicUsec, wallTime } from '../system/clock.ts';
import { withFindings } from './status-document.ts';
import { parseStatus, publishedStatus } from './publish.ts';
import type { StatusDocument } from './schema.ts';

/** What only the daemon knows, beside dockerd's version. */
export interface DaemonsOwn {
  readonly findings: readonly Finding[];
  readonly phase: Pick<StatusDocument, 'phase' | 'phaseSince' | 'phaseSinceUsec'>;
}

/**
 * The status that the daemon answers with. It is the newest one that any run has published, since docker.service's
 * drop-in may have changed the store, plus what only the daemon knows. The daemon remembers its own result, even if it
 * could not be written or somebody has removed the file.
 */
export class CurrentStatus {
  readonly #config: Config;
  #own: {
    readonly status: StatusDocument;
    /** The text of the file that it was written to, or that it replaces. */ readonly over: string | undefined;
  };
  #findings: readonly Finding[] = [];
  #phase: Pick<StatusDocument, 'phase' | 'phaseSince' | 'phaseSinceUsec'>;
  #dockerd: string | null = null;
  #tell: () => void = () => undefined;
  #made: { readonly from: string | undefined; readonly document: StatusDocument; readonly text: string } | undefined;

  /** @param written what `publish` returned */
  constructor(config: Config, first: StatusDocument, written: string | undefined) {
    this.#config = config;
    this.#own = { status: first, over: written ?? publishedStatus(config) };
    const { phase, phaseSince, phaseSinceUsec } = first;
    this.#phase = { phase, phaseSince, phaseSinceUsec };
  }

  /** What only the daemon knows, for another process that goes on. */
  get own(): DaemonsOwn {
    return { findings: this.#findings, phase: this.#phase };
  }

  /** Goes on with what another process knew. */
  goOn({ findings, phase }: DaemonsOwn): void {
    this.#findings = findings;
    this.#phase = phase;
    this.#made = undefined;
  }

  /** The daemon enters another phase. */
  enter(phase: 'sync' | 'watch'): void {
    this.#phase = { phase, phaseSince: wallTime(), phaseSinceUsec: monotonicUsec() };
    this.#made = undefined;
  }

  /** Adds something that was found after READY. */
  add(finding: Finding): void {
    this.#findings = [...this.#findings, finding];
    this.#made = undefined;
  }

  setDockerd(version: string | null): void {
    if (version !== this.#dockerd) this.#made = undefined;
    this.#dockerd = version;
  }

  get document(): StatusDocument {
    return this.#newest().document;
  }

  get text(): string {
    return this.#newest().text;
  }

  /** The newest result of any run, without what only the daemon knows. */
  get found(): StatusDocument {
    return this.#foundIn(publishedStatus(this.#config));
  }

  /** Whether the newest result is in the file, for those who read that. */
  get isPublished(): boolean {
    const { status, over } = this.#own;
    const text = publishedStatus(this.#config);
    return text !== undefined && (text !== over || text === `${JSON.stringify(status)}\n`);
  }

  /** Sets a new result of the daemon. @param written what `publish` returned */
  setFound(status: StatusDocument, written: string | undefined): void {
    this.#own = { status, over: written ?? publishedStatus(this.#config) };
    this.#made = undefined;
    this.#tell();
  }

  /** Calls `tell` at each new result of the daemon. */
  whenFound(tell: () => void): void {
    this.#tell = tell;
  }

  #foundIn(published: string | undefined): StatusDocument {
    return published === undefined || published === this.#own.over
      ? this.#own.status
      : (parseStatus(published) ?? this.#own.status);
  }

  /** Made only once for each status, because clients may ask often. */
  #newest(): { readonly document: StatusDocument; readonly text: string } {
    const from = publishedStatus(this.#config);
    if (this.#made === undefined || this.#made.from !== from) {
      const found = this.#foundIn(from);
      const document = {
        ...withFindings(found, this.#findings),
        ...this.#phase,
        versions: { ...found.versions, dockerd: this.#dockerd },
      };
      this.#made = { from, document, text: `${JSON.stringify(document)}\n` };
    }
    return this.#made;
  }
}
