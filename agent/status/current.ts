import type { Config } from '../boot/config.ts';
import type { Finding } from '../disk/finding.ts';
import { monotonicUsec } from '../system/clock.ts';
import { withFindings } from './document.ts';
import { publishedStatus } from './publish.ts';
import type { StatusDocument } from './schema.ts';

/**
 * The status that the daemon answers: the newest that any run has published, for docker.service's drop-in may have
 * changed the store since, with what the daemon knows beyond it.
 */
export class CurrentStatus {
  readonly #config: Config;
  readonly #first: StatusDocument;
  #findings: readonly Finding[] = [];
  #phase: Pick<StatusDocument, 'phase' | 'phaseSince' | 'phaseSinceUsec'>;
  #dockerd: string | null = null;
  #made: { readonly from: string | undefined; readonly document: StatusDocument; readonly text: string } | undefined;

  constructor(config: Config, first: StatusDocument) {
    this.#config = config;
    this.#first = first;
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

  /** Made once for each status: clients may ask as often as they like. */
  #newest(): { readonly document: StatusDocument; readonly text: string } {
    const from = publishedStatus(this.#config);
    if (this.#made === undefined || this.#made.from !== from) {
      const published = from === undefined ? this.#first : (JSON.parse(from) as StatusDocument);
      const document = { ...withFindings(published, this.#findings), ...this.#phase, versions: { ...published.versions, dockerd: this.#dockerd } };
      this.#made = { from, document, text: `${JSON.stringify(document)}\n` };
    }
    return this.#made;
  }
}
