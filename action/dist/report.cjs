"use strict";

// src/builder.ts
function inspectArgs(name) {
  return ["buildx", "inspect", ...name === "" ? [] : [name]];
}

// src/process.ts
var import_node_child_process = require("node:child_process");

// src/workflow.ts
var import_node_crypto = require("node:crypto");
var import_node_fs = require("node:fs");
function escapeData(text) {
  return text.replace(/%/g, "%25").replace(/\r/g, "%0D").replace(/\n/g, "%0A");
}
function escapeProperty(text) {
  return escapeData(text).replace(/:/g, "%3A").replace(/,/g, "%2C");
}
function info(text) {
  process.stdout.write(`${text}
`);
}
function annotate(level, text) {
  info(`::${level} title=${escapeProperty("buildkit-gha")}::${escapeData(text)}`);
}
function append(file, text) {
  const path = process.env[file];
  if (!path) {
    throw new Error(`${file} is not set: this program is started by a runner of GitHub Actions`);
  }
  (0, import_node_fs.appendFileSync)(path, text);
}
function appendVariable(file, name, value) {
  const delimiter = `end-${(0, import_node_crypto.randomUUID)()}`;
  append(file, `${name}<<${delimiter}
${value}
${delimiter}
`);
}
function setOutput(name, value) {
  appendVariable("GITHUB_OUTPUT", name, value);
}

// src/process.ts
var TIMEOUT_MS = 6e4;
function run(program, args, options = {}) {
  const timeout = options.timeoutMs ?? TIMEOUT_MS;
  return new Promise((resolve) => {
    const child = (0, import_node_child_process.spawn)(program, args, { timeout, killSignal: "SIGKILL" });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      if (options.echo === "all") process.stdout.write(text);
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text;
      if (options.echo) process.stdout.write(text);
    });
    child.on("error", (error) => resolve({ ok: false, stdout, stderr, reason: error.message }));
    child.on("close", (code, signal) => {
      const ended = signal === null ? `${program} ended with exit code ${code}` : `${program} was ended with ${signal} after ${timeout / 1e3} s`;
      const reason = signal === null ? reasonIn(stderr) || ended : ended;
      resolve({ ok: code === 0, stdout, stderr, reason });
    });
    child.stdin.on("error", () => void 0);
    child.stdin.end(options.input ?? "");
  });
}
function reasonIn(stderr) {
  const lines = stderr.split("\n").map((line) => line.trim());
  const said = lines.filter((line) => line !== "");
  return said.find((line) => /^error\b/i.test(line)) ?? said.at(-1) ?? "";
}
function reasonOf(error) {
  return error instanceof Error ? error.message : String(error);
}

// src/gateway.ts
var CONTAINER_PREFIX = "buildx_buildkit_";
function reachable(builder) {
  return builder.driver === "docker-container";
}
function engineArgs(node) {
  const endpoint = node.endpoint ?? "";
  if (endpoint === "") return [];
  return endpoint.includes("://") ? ["--host", endpoint] : ["--context", endpoint];
}
function containerOf(node) {
  return `${CONTAINER_PREFIX}${node.name}`;
}
function gateway(node, args, options = {}) {
  const all = [...engineArgs(node), "exec", containerOf(node), "buildkit-gha", ...args];
  return run("docker", all, options);
}
async function stats(node) {
  const { ok, stdout, reason } = await gateway(node, ["stats", "-o", "json"]);
  if (!ok) throw new Error(reason);
  return JSON.parse(stdout);
}

// src/duration.ts
var UNITS = {
  ms: 1,
  s: 1e3,
  m: 6e4,
  h: 36e5,
  d: 864e5
};
function parseDuration(text) {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
    throw new Error(`"${text}" is no duration: write it as 90s, 5m or 1m30s`);
  }
  let milliseconds = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    milliseconds += Number(number) * (UNITS[unit ?? ""] ?? 0);
  }
  return { text, milliseconds };
}

// src/reader.ts
var InputError = class extends Error {
  constructor(problems) {
    super(problems.join("\n"));
    this.problems = problems;
  }
  problems;
};
var Reader = class {
  constructor(env) {
    this.env = env;
  }
  env;
  problems = [];
  text(name) {
    return (this.env[`INPUT_${name.replaceAll(" ", "_").toUpperCase()}`] ?? "").trim();
  }
  /** As YAML's core schema has it, which is what the runner takes for a boolean. */
  boolean(name, byDefault) {
    const text = this.text(name);
    if (text === "") return byDefault;
    if (/^(true|True|TRUE)$/.test(text)) return true;
    if (!/^(false|False|FALSE)$/.test(text)) {
      this.problems.push(`${name}: "${text}" is neither true nor false`);
    }
    return false;
  }
  lines(name) {
    return list(this.text(name), "\n");
  }
  duration(name, byDefault) {
    const text = this.text(name) || byDefault;
    return this.attempt(name, () => parseDuration(text)) ?? { text, milliseconds: 0 };
  }
  /** What `read` gives; what it throws is a problem of this input. */
  attempt(name, read) {
    try {
      return read();
    } catch (error) {
      this.problems.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      return void 0;
    }
  }
  /** Throws if anything was wrong. */
  finish() {
    if (this.problems.length > 0) {
      throw new InputError(this.problems);
    }
  }
};
function list(text, separator) {
  const items = text.split(separator).map((item) => item.trim());
  return items.filter((item) => item !== "");
}

// src/nodes.ts
var SECRET_OPTIONS = ["env.BUILDKIT_GHA_TOKEN"];
function parseInspect(text) {
  const builder = { name: "", driver: "", nodes: [] };
  let node;
  for (const line of text.split("\n")) {
    const [, key, value] = /^([A-Z][^:]*):\s*(.*)$/.exec(line) ?? [];
    if (key === void 0 || value === void 0) continue;
    if (key === "Name") {
      if (builder.name === "") {
        builder.name = value;
      } else {
        node = { name: value };
        builder.nodes.push(node);
      }
    } else if (node !== void 0) {
      setField(node, key, value);
    } else if (key === "Driver") {
      builder.driver = value;
    }
  }
  return builder;
}
function setField(node, key, value) {
  switch (key) {
    case "Endpoint":
      node.endpoint = value;
      break;
    case "Driver Options":
      node["driver-opts"] = parseOptions(value);
      break;
    case "Status":
      node.status = value;
      break;
    case "BuildKit daemon flags":
      node["buildkitd-flags"] = value;
      break;
    case "BuildKit version":
      node.buildkit = value;
      break;
    case "Platforms":
      node.platforms = parsePlatforms(value);
      break;
    case "Error":
      node.error = value;
      break;
  }
}
function parseOptions(text) {
  const options = text.matchAll(/([^\s=]+)=("(?:[^"\\]|\\.)*")/g);
  const read = [...options].map(([, name = "", quoted = ""]) => {
    const value = SECRET_OPTIONS.includes(name) ? "***" : unquote(quoted);
    return `${name}=${value}`;
  });
  return read.sort();
}
function unquote(quoted) {
  try {
    return JSON.parse(quoted);
  } catch {
    return quoted.slice(1, -1);
  }
}
function parsePlatforms(text) {
  const all = text.split(",").map((platform) => platform.trim());
  const fixed = all.filter((platform) => platform.includes("*"));
  return (fixed.length > 0 ? fixed : all).map((platform) => platform.replaceAll("*", "")).filter((platform) => platform !== "").join(",");
}

// src/stats.ts
function report(nodes) {
  const builds = nodes.flatMap((stats2) => stats2.builds ?? []);
  const imports = builds.flatMap((build) => build.imports ?? []);
  const exports2 = builds.flatMap((build) => build.exports ?? []);
  const show = (value) => builds.length === 0 ? "" : String(value);
  const seconds = sum(builds, (build) => build.steps?.time_saved_seconds);
  return {
    "cache-hit": cacheHit(builds),
    "layers-reused": show(sum(imports, (one) => one.layers_confirmed)),
    "bytes-uploaded": show(sum(exports2, (one) => one.bytes_sent)),
    "bytes-downloaded": show(sum(imports, (one) => one.bytes_fetched)),
    "time-saved": show(Math.round(seconds * 10) / 10)
  };
}
function cacheHit(builds) {
  const cached = sum(builds, (build) => build.steps?.cached);
  const total = sum(builds, (build) => build.steps?.total);
  return cached === 0 ? "" : String(cached === total);
}
function sum(items, value) {
  return items.reduce((total, item) => total + (value(item) ?? 0), 0);
}

// src/report.ts
async function main() {
  const { ok, stdout, reason } = await run(
    "docker",
    inspectArgs(new Reader(process.env).text("name"))
  );
  if (!ok) throw new Error(reason);
  const builder = parseInspect(stdout);
  if (!reachable(builder)) {
    throw new Error(`a ${builder.driver} builder cannot be asked from here`);
  }
  const outputs = report(await Promise.all(builder.nodes.map(stats)));
  for (const [name, value] of Object.entries(outputs)) {
    info(`${name}: ${value}`);
    setOutput(name, value);
  }
}
main().catch((error) => {
  annotate("warning", `There is no report, and its outputs are empty: ${reasonOf(error)}`);
});
