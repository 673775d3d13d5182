import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build } from 'esbuild';
import { type TempTree, tempTree } from '../support/temp-tree.ts';

const root = path.resolve(import.meta.dirname, '../..');
const name = '.github/workflows/ci.yml';
const content = readFileSync(path.join(root, name), 'utf8');

interface Workflow {
  readonly errors: readonly string[];
  readonly jobs: readonly {
    readonly id: string;
    readonly needs: readonly string[];
    readonly condition: string;
    readonly scripts: readonly string[];
  }[];
}

/** Reads a workflow from standard input as GitHub does, by its own parser and schema. */
const reader = `
  import { readFileSync } from 'node:fs';
  import { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } from '@actions/workflow-parser';
  const file = { name: 'workflow.yml', content: readFileSync(0, 'utf8') };
  const { context, value } = parseWorkflow(file, new NoOperationTraceWriter());
  const { jobs = [] } = await convertWorkflowTemplate(context, value);
  console.log(JSON.stringify({
    errors: context.errors.getErrors().map(({ message }) => message),
    jobs: jobs.map((job) => ({
      id: job.id.value,
      needs: (job.needs ?? []).map(({ value }) => value),
      condition: String(job.if),
      scripts: job.steps.flatMap((step) => ('run' in step ? [String(step.run)] : [])),
    })),
  }));`;

describe("GitHub's workflow", () => {
  let folder: TempTree;
  const read = (text: string): Workflow =>
    JSON.parse(
      execFileSync(process.execPath, [path.join(folder.path, 'reader.mjs')], { input: text, encoding: 'utf8' }),
    ) as Workflow;
  let workflow: Workflow;

  before(async () => {
    folder = await tempTree();
    await build({
      stdin: { contents: reader, resolveDir: root },
      outfile: path.join(folder.path, 'reader.mjs'),
      // The parser's modules import JSON as bundlers do, and not as Node does.
      bundle: true,
      format: 'esm',
      platform: 'node',
      mainFields: ['module', 'main'],
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    });
    workflow = read(content);
  });
  after(() => folder.remove());

  it("is one by GitHub's own parser, which refuses others", () => {
    assert.deepEqual(workflow.errors, []);
    for (const [from, to] of [
      ['timeout-minutes: 120', 'timeout-minute: 120'],
      ['needs: test', 'needs: tests'],
      ['secrets.SIGNING_KEY }}', 'secrets.SIGNING_KEY'],
      ["if: startsWith(github.ref, 'refs/tags/v')", "if: startsWith(githubs.ref, 'refs/tags/v')"],
    ] as const) {
      assert.ok(content.includes(from), from);
      assert.notDeepEqual(read(content.replace(from, to)).errors, [], to);
    }
  });

  it('runs .ci/run, and npm run release where a tag has passed it', () => {
    const [test, release, apt] = workflow.jobs;
    assert.deepEqual([test?.id, release?.id, apt?.id, workflow.jobs.length], ['test', 'release', 'apt', 3]);
    assert.ok(test?.scripts.includes('bash .ci/run'), JSON.stringify(test));
    assert.match(release?.scripts.join('\n') ?? '', /^npm run release -- "\$@"$/m);
    assert.deepEqual([release?.needs, apt?.needs], [['test'], ['release']]);
    assert.match(release?.condition ?? '', /refs\/tags\/v/);
  });

  it('has scripts that a shell can read', () => {
    const scripts = workflow.jobs.flatMap((job) => job.scripts);
    assert.ok(scripts.length >= 4, `${scripts.length} scripts`);
    for (const script of scripts) execFileSync('bash', ['-n'], { input: script });
  });

  it('is the only one', () => assert.deepEqual(globSync('.github/**/*.yml', { cwd: root }), [name]));
});
