use std::time::Duration;

use aya::{TestRun as _, TestRunOptions, programs::Xdp};

use super::{Kernel, object::FRAGMENTS, refused::program_refused};
use crate::Error;

/// What the program does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was for a dark destination: nobody else sees it.
    Drop,
    /// It goes on to the network stack, untouched.
    Pass,
    /// Something that the program never does.
    Other(u32),
}

/// What the program cost the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Footprint {
    /// Instructions that the verifier looked at; it gives up at 1,000,000. `None` before Linux 5.16.
    pub verified: Option<u32>,
    /// Bytes of machine code.
    pub machine_code: u32,
}

/// Which of the kernel's programs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Its number.
    pub program: u32,
    /// Whether it is the one that sees frames of several buffers too. A tail call needs both
    /// programs to agree on that.
    pub fragments: bool,
}

impl Kernel {
    /// Runs the program on a frame of 14 bytes or more, `repeat` times, without an interface. Says
    /// what it did and how long it took on average. It counts as any other packet.
    ///
    /// # Errors
    ///
    /// What the kernel said: a frame that is too short, or too long.
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<(Action, Duration), Error> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::default()
        };
        let result = self.xdp()?.test_run(options);
        let result = result.map_err(program_refused)?;
        // `enum xdp_action`, `include/uapi/linux/bpf.h`.
        let action = match result.return_value {
            1 => Action::Drop,
            2 => Action::Pass,
            other => Action::Other(other),
        };
        Ok((action, result.duration))
    }

    /// What the program cost the kernel.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn footprint(&self) -> Result<Footprint, Error> {
        let information = self.xdp()?.info().map_err(program_refused)?;
        Ok(Footprint {
            verified: information.verified_instruction_count(),
            machine_code: information.size_jitted(),
        })
    }

    /// Which program it is, for somebody who calls it from a program of their own.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn identity(&self) -> Result<Identity, Error> {
        let information = self.xdp()?.info().map_err(program_refused)?;
        Ok(Identity {
            program: information.id(),
            fragments: information.name_as_str() == Some(FRAGMENTS),
        })
    }

    /// The program that is attached, or would be tried first.
    fn xdp(&self) -> Result<&Xdp, Error> {
        let attached = self.attached.as_ref();
        self.program.xdp(attached.map(|attached| attached.program))
    }
}
