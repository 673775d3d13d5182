import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { before, describe, it } from 'node:test';
import { statusDocument } from '../../agent/status/status-document.ts';
import { metrics } from '../../agent/status/metrics.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { aRun, finding, later } from './a-run.ts';

/** The parsers that Prometheus' project itself has for both formats: they take only what is valid. */
const parse = `import sys, json
from prometheus_client import openmetrics, parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as older
text = sys.stdin.read()
samples = [[[s.name, s.labels, s.value] for f in read(text) for s in f.samples] for read in (open_metrics, older)]
json.dump(samples, sys.stdout)`;

type Sample = readonly [name: string, labels: Readonly<Record<string, string>>, value: number];

function samplesOf(text: string): readonly [openMetrics: readonly Sample[], older: readonly Sample[]] {
  return JSON.parse(execFileSync('/usr/bin/python3', ['-c', parse], { input: text, encoding: 'utf8' })) as [
    Sample[],
    Sample[],
  ];
}

describe('the metrics', () => {
  before(() => ensureDebianPackages(['python3-prometheus-client'], { install: true }));

  it('are OpenMetrics, and as a file what node_exporter reads', (t) => {
    const run = aRun(t, { findings: [finding('DISK_DIRTY', 'why', { label: 'dpl-x' })] });
    const status = statusDocument(run, later(run, 1500));
    const text = metrics(status);
    assert.ok(text.endsWith('\n# EOF\n'));
    const [samples, older] = samplesOf(text);
    assert.deepEqual(older, samples);
    const values = Object.fromEntries(
      samples.map(([name, labels, value]) => [
        `${name}${Object.values(labels)
          .map((label) => ` ${label}`)
          .join('')}`,
        value,
      ]),
    );
    assert.partialDeepStrictEqual(values, {
      'docker_preloader_state ok': 0,
      'docker_preloader_state degraded': 1,
      docker_preloader_disks: 1,
      'docker_preloader_disk_states in-use': 1,
      'docker_preloader_disk_states refused': 0,
      docker_preloader_images: 1,
      docker_preloader_images_usable: 1,
      'docker_preloader_layers dpl-a': 2,
      'docker_preloader_layers_shared dpl-a': 0,
      'docker_preloader_disk_size_bytes dpl-a': 8192,
      'docker_preloader_findings DISK_DIRTY': 1,
      docker_preloader_pending_changes: 0,
      docker_preloader_ready_seconds: status.readyUsec / 1e6,
      'docker_preloader_phase_duration_seconds config': 1.5,
    });
  });

  it('keep what a label holds, whatever that is', (t) => {
    const status = statusDocument(aRun(t), 1);
    const odd = 'a"b\\c\nd{},=é漢';
    const [samples] = samplesOf(metrics({ ...status, disks: status.disks.map((disk) => ({ ...disk, label: odd })) }));
    assert.equal(samples.find(([name]) => name === 'docker_preloader_layers')?.[1]['disk'], odd);
  });

  it('are valid where there is nothing', (t) => {
    const run = aRun(t, { disks: [], candidates: [], plan: undefined, applied: false, dataRoot: undefined });
    const [samples, older] = samplesOf(metrics(statusDocument(run, 1)));
    assert.deepEqual(older, samples);
    const valueOf = (wanted: string): number | undefined => samples.find(([name]) => name === wanted)?.[2];
    assert.deepEqual([valueOf('docker_preloader_disks'), valueOf('docker_preloader_images')], [0, 0]);
  });
});
