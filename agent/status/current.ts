import type { Config } from '../config/config.ts';
import type { Finding } from '../messages/finding.ts';
import { monotonicUsec } from '../system/clock.ts';
import { withFindings } from './status-document.ts';
import { parseStatus, publishedStatus } from './publish.ts';
import type { StatusDocument } from './schema.ts';

/**
 * The status that the daemon answers: the newest that any run has published, for docker.service's drop-in may have
 * changed the store since, with what the daemon knows beyond it. What the daemon has found itself it knows, also where that
 * could not be written, or somebody has removed the file.
 */
export class CurrentStatus {
  readonly #config: Config;
  #own: {
    readonly status: StatusDocument;
    /** The file that it is newer than, or is. */ readonly over: string | undefined;
  };
  #findings: readonly Finding[] = [];
  #phase: Pick<StatusDocument, 'phase' | 'phaseSince' | 'phaseSinceUsec'>;
  #dockerd: string | null = null;
  #made: { readonly from: string | undefined; readonly document: StatusDocument; readonly text: string } | undefined;

  /** @param written as `publish` has returned it */
  constructor(config: Config, first: StatusDocument, written: string | undefined) {
    this.#config = config;
    this.#own = { status: first, over: written ?? publishedStatus(config) };
    const { phase, phaseSince, phaseSinceUsec } = first;
    this.#phase = { phase, phaseSince, phaseSinceUsec };
  }

  /** The daemon goes on to something else. */
  enter(phase: 'sync' | 'watch'): void {
    this.#phase = { phase, phaseSince: new Date().toISOString(), phaseSinceUsec: monotonicUsec() };
    this.#made = undefined;
  }

  /** Something that was found out after READY. */
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

  /** The newest that any run has found, without what the daemon knows beyond it. */
  get found(): StatusDocument {
    return this.#foundIn(publishedStatus(this.#config));
  }

  /** Whether the newest lies in the file, for those who read that. */
  get isPublished(): boolean {
    const { status, over } = this.#own;
    const text = publishedStatus(this.#config);
    return text !== undefined && (text !== over || text === `${JSON.stringify(status)}\n`);
  }

  /** The daemon has found another. @param written as `publish` has returned it */
  setFound(status: StatusDocument, written: string | undefined): void {
    this.#own = { status, over: written ?? publishedStatus(this.#config) };
    this.#made = undefined;
  }

  #foundIn(published: string | undefined): StatusDocument {
    return published === undefined || published === this.#own.over
      ? this.#own.status
      : (parseStatus(published) ?? this.#own.status);
  }

  /** Made once for each status: clients may ask as often as they like. */
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
