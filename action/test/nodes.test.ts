import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allPlatforms, parseInspect } from '../src/nodes.ts';

// As buildx 0.38 prints it.
const TEXT = `Name:          two
Driver:        docker-container
Last Activity: 2026-11-27 20:00:00 +0000 UTC

Nodes:
Name:                  two0
Endpoint:              unix:///var/run/docker.sock
Driver Options:        env.A="say \\"x, y\\"" env.BUILDKIT_GHA_TOKEN="secret" network="host"
Status:                running
BuildKit daemon flags: --allow-insecure-entitlement security.insecure
BuildKit version:      v0.34.2
Platforms:             linux/amd64*, linux/386, linux/arm64*
Labels:
 org.mobyproject.buildkit.worker.executor:    oci
GC Policy rule#0:
 All:            false
 Filters:        type==source.local
File#buildkitd.toml:
 > Name: x

Name:      two1
Endpoint:  arm
Error:     no such host
`;

test('a builder of two nodes', () => {
  const builder = parseInspect(TEXT);
  assert.deepEqual(builder, {
    name: 'two',
    driver: 'docker-container',
    nodes: [
      {
        name: 'two0',
        endpoint: 'unix:///var/run/docker.sock',
        'driver-opts': ['env.A=say "x, y"', 'env.BUILDKIT_GHA_TOKEN=***', 'network=host'],
        status: 'running',
        'buildkitd-flags': '--allow-insecure-entitlement security.insecure',
        buildkit: 'v0.34.2',
        platforms: 'linux/amd64,linux/arm64',
      },
      { name: 'two1', endpoint: 'arm', error: 'no such host' },
    ],
  });
});

test('platforms are named once', () => {
  const nodes = [
    { name: 'a', platforms: 'linux/amd64,linux/386' },
    { name: 'b' },
    { name: 'c', platforms: 'linux/arm64,linux/386' },
  ];
  assert.equal(allPlatforms(nodes), 'linux/amd64,linux/386,linux/arm64');
});
