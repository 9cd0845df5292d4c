//! A build step that listens on the network that it shares with its daemon, and makes the requests
//! again that it heard.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex::bytes::Regex;

use super::{BUILD, Build, Builder, Context, Lab, Process, SOON, version};

/// Where the step takes its orders, on the address that it listens on: the discard port.
const ORDERS: u16 = 9;

/// How often an order is repeated until it is obeyed.
const REPEAT: Duration = Duration::from_millis(200);

/// What may never pass: a path below a handle, a token, a URL of an object.
const SECRET: &str =
    r"/[0-9a-f]{32}/(_apis|objects)/|Bearer |eyJ[A-Za-z0-9_-]{8,}\.|archiveLocation";

/// How many bytes of a layer are as good as the layer: no two of the tests' have them in common.
const SIGN_OF_A_LAYER: usize = 64;

/// What the step says when it listens.
pub const READY: &str = "ready";

/// A tar file with less in it has a capture of nothing.
const HEARD: usize = 16 << 10;

/// A build whose step listens.
pub struct Eavesdropper {
    build: Process,
    result: PathBuf,
    address: Ipv4Addr,
}

/// What such a step has at its end.
pub struct Captured {
    /// All that was sent by TCP, in a tar file.
    capture: Vec<u8>,
    /// What the step wrote.
    said: String,
}

impl Eavesdropper {
    /// Starts a build whose step hears all that passes from and to `address`. Tests that run at the
    /// same time have an address each: all of 127.0.0.0/8 is this machine.
    pub fn listen(builder: &Builder, address: Ipv4Addr) -> Self {
        Self::start(builder, address, &format!("\"listen\", \"{address}\""))
    }

    /// Starts a build whose step takes a port of `address` as soon as it is free.
    pub fn squat(builder: &Builder, address: Ipv4Addr, port: u16) -> Self {
        Self::start(
            builder,
            address,
            &format!("\"squat\", \"{address}:{port}\""),
        )
    }

    fn start(builder: &Builder, address: Ipv4Addr, order: &str) -> Self {
        let lab = builder.lab();
        let context = context(lab, &format!("eavesdropper-{address}"), order);
        let result = lab.path(format!("{}.tar", context.name()));
        let build = Build::new(&context).tar(result.clone());
        let mut build = builder.start(&build);
        build.until("the step listens", BUILD, |log| {
            printed(log).contains(READY).then_some(())
        });
        Self {
            build,
            result,
            address,
        }
    }

    /// Waits until the step has written this.
    pub fn until_said(&mut self, what: &str) {
        self.build
            .until(what, SOON, |log| printed(log).contains(what).then_some(()));
    }

    /// Has the step make all requests again that it heard, and waits until it has.
    pub fn replay(&mut self) {
        let address = self.address;
        self.build.until("all is tried", SOON, |log| {
            // A datagram may be lost.
            order(address, "eavesdropper: replay");
            printed(log).contains("tried all").then_some(())
        });
    }

    /// Ends the build.
    pub fn end(mut self) -> Captured {
        let deadline = Instant::now() + BUILD;
        let status = loop {
            Self::end_step(self.address);
            if let Some(status) = self.build.ended_within(REPEAT) {
                break status;
            }
            assert!(Instant::now() < deadline, "the step does not end");
        };
        assert!(status.success(), "the build of the eavesdropper failed");
        Captured {
            capture: fs::read(&self.result).expect("the result of the build"),
            said: printed(&self.build.log()),
        }
    }

    /// Puts the program into a context, as `eavesdropper`.
    pub fn install(context: &Context) {
        let program = fs::read(version::EAVESDROPPER).expect("tools/setup.sh has built it");
        context.write("eavesdropper", program);
        let program = context.dir().join("eavesdropper");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(program, mode).expect("a program of ours");
    }

    /// Ends the step of any build that listens on this address.
    pub fn end_step(address: Ipv4Addr) {
        order(address, "eavesdropper: end");
    }
}

impl Captured {
    /// Fails if the step heard nothing at all, or anything that can be used or read.
    pub fn assert_no_secrets(&self, layers: &[Vec<u8>]) {
        assert!(self.capture.len() > HEARD, "the step heard nothing");
        assert_eq!(self.secrets(layers), Vec::<String>::new());
    }

    /// True if this was sent to the step or passed before it.
    pub fn has(&self, text: &str) -> bool {
        memchr::memmem::find(&self.capture, text.as_bytes()).is_some()
    }

    /// Fails if anything passed at all.
    pub fn assert_empty(&self) {
        assert!(self.capture.len() <= HEARD, "{} bytes", self.capture.len());
    }

    /// How many bytes it heard.
    pub fn heard(&self) -> usize {
        self.capture.len()
    }

    /// Handles, tokens, pieces of `layers`, and what the step asked for again.
    pub fn secrets(&self, layers: &[Vec<u8>]) -> Vec<String> {
        let secret = Regex::new(SECRET).expect("a pattern");
        let found = secret.find_iter(&self.capture);
        let mut secrets: Vec<_> = found
            .map(|found| String::from_utf8_lossy(found.as_bytes()).into_owned())
            .collect();
        for layer in layers {
            let middle = layer.len() / 2;
            let sign = layer.get(middle..middle + SIGN_OF_A_LAYER);
            let sign = sign.expect("a layer that is large enough to be known again");
            if memchr::memmem::find(&self.capture, sign).is_some() {
                secrets.push(format!("a layer of {} bytes", layer.len()));
            }
        }
        let tried = self
            .said
            .lines()
            .filter(|line| line.starts_with("tried http"));
        secrets.extend(tried.map(ToOwned::to_owned));
        secrets.sort();
        secrets.dedup();
        secrets
    }
}

fn order(address: Ipv4Addr, order: &str) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let sent = socket.send_to(order.as_bytes(), (address, ORDERS));
    assert_eq!(sent.expect("an order is sent"), order.len());
}

fn context(lab: &Arc<Lab>, name: &str, order: &str) -> Context {
    let dockerfile = format!(
        "FROM scratch AS step\nCOPY eavesdropper /\nRUN [\"/eavesdropper\", {order}, \"/capture\"]\n\
         FROM scratch\nCOPY --from=step /capture /\n"
    );
    let context = Context::new(lab, name, &dockerfile);
    Eavesdropper::install(&context);
    context
}

/// What the steps of a build have written, from its raw progress.
pub fn printed(log: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Line {
        #[serde(default)]
        logs: Vec<Log>,
    }
    #[derive(serde::Deserialize)]
    struct Log {
        data: String,
    }
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let texts = lines.flat_map(|line| line.logs);
    texts
        .filter_map(|log| String::from_utf8(STANDARD.decode(log.data).ok()?).ok())
        .collect()
}
