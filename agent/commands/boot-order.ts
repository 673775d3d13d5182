import { capture } from '../boot-order/capture.ts';
import { parseBootDocument, type BootDocument } from '../boot-order/boot-document.ts';
import { findFaults } from '../boot-order/faults.ts';
import { bootChart } from '../boot-order/svg.ts';
import { describeFault, describeTimeline } from '../boot-order/text.ts';
import { timeline } from '../boot-order/timeline.ts';
import { refuseInputAsOutput } from '../builder/inputs.ts';
import { refuseOutput, type OutputOption } from '../builder/output.ts';
import { TO_STDOUT } from '../builder/workplace.ts';
import { environment } from '../system/environment.ts';
import { messageOf, PreloaderError, reasonOf, shownPath } from '../system/errors.ts';
import { readToLimit } from '../system/read-files.ts';
import { tellLine } from '../system/stderr.ts';
import { replaceUsersFile } from '../system/users-file.ts';
import { terminalOf } from '../text/terminal.ts';

export interface BootOrderOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly check?: boolean;
  readonly svg?: string;
}

/** Several hundred times the size for a large machine. */
const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024;
const PUBLIC_FILE = 0o644;
const STDIN = 0;
const CHART: OutputOption = { option: '--svg', code: 'OUTPUT_FAILED' };

/** The exit statuses of `--check`, besides 0 if the order is right. */
const FOUND_FAULTS = 1;
const COULD_NOT_LOOK = 2;

/**
 * Shows when each unit started and what it waited for, in this boot or in one that was captured elsewhere.
 * @returns the exit status: with `--check` 1 if it found a fault, or 2 if it found none but could not check everything
 * @throws PreloaderError NO_SYSTEMD, DOCUMENT_INVALID, OUTPUT_FAILED
 */
export async function bootOrder(file: string | undefined, options: BootOrderOptions): Promise<number> {
  if (options.check !== true) {
    tell(await read(file, options), options);
    return 0;
  }
  try {
    const document = await read(file, options);
    const faults = tell(document, options);
    for (const reason of document.unchecked) tellLine(`docker-preloader: not looked at: ${reason}`);
    return faults > 0 ? FOUND_FAULTS : document.unchecked.length > 0 ? COULD_NOT_LOOK : 0;
  } catch (error) {
    tellLine(`docker-preloader: ${messageOf(error)}`);
    return COULD_NOT_LOOK;
  }
}

async function read(file: string | undefined, options: BootOrderOptions): Promise<BootDocument> {
  if (options.svg !== undefined) refuseChart(options.svg, file);
  return file === undefined ? await capture(options.config) : readDocument(file);
}

/** @returns the number of faults */
function tell(document: BootDocument, options: BootOrderOptions): number {
  const times = timeline(document);
  const faults = findFaults(document);
  if (options.svg !== undefined) writeChart(options.svg, bootChart(document, times));
  if (options.json === true)
    process.stdout.write(`${JSON.stringify({ ...document, timeline: times, faults }, undefined, 1)}\n`);
  // With --svg or --check, only the chart or the verdict is printed.
  else if (options.check === true && options.svg !== TO_STDOUT)
    process.stdout.write(faults.map((fault) => `${describeFault(fault)}\n`).join(''));
  else if (options.svg === undefined)
    process.stdout.write(describeTimeline(document, times, faults, terminalOf(process.stdout, environment())));
  return faults.length;
}

function readDocument(file: string): BootDocument {
  const name = file === '-' ? 'standard input' : shownPath(file);
  try {
    return parseBootDocument(readToLimit(file === '-' ? STDIN : file, MAX_DOCUMENT_BYTES).toString('utf8'));
  } catch (error) {
    throw new PreloaderError(
      'DOCUMENT_INVALID',
      `${name}: expected what \`docker-preloader boot-order --json\` prints: ${reasonOf(error)}`,
      { cause: error },
    );
  }
}

/** Before anything is read. @throws PreloaderError OUTPUT_FAILED */
function refuseChart(svg: string, file: string | undefined): void {
  if (svg !== TO_STDOUT) refuseOutput(svg, CHART);
  if (file !== undefined) refuseInputAsOutput(svg, [{ role: 'the boot order', path: file }], CHART);
}

function writeChart(file: string, svg: string): void {
  if (file === TO_STDOUT) {
    process.stdout.write(svg);
    return;
  }
  try {
    replaceUsersFile(file, svg, PUBLIC_FILE);
  } catch (error) {
    throw new PreloaderError(
      'OUTPUT_FAILED',
      `${file}: the chart cannot be written: ${reasonOf(error)}; name a file in a folder that is there`,
      { cause: error },
    );
  }
}
