//! The ends of logs.

use std::collections::VecDeque;

use futures_util::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::LogParams;

use super::Options;
use crate::cluster::{Cluster, ClusterError};

/// A log that there may be: pod, container, and whether it is that of the run before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) pod: String,
    pub(super) container: String,
    pub(super) previous: bool,
}

impl Log {
    pub(super) fn path(&self) -> String {
        let previous = if self.previous { ".previous" } else { "" };
        format!("logs/{}/{}{previous}.log", self.pod, self.container)
    }

    /// Its end: so many lines at most, and whole ones.
    pub(super) async fn read(
        &self,
        cluster: &Cluster,
        namespace: &str,
        options: Options,
    ) -> Result<String, ClusterError> {
        let parameters = LogParams {
            container: Some(self.container.clone()),
            previous: self.previous,
            tail_lines: Some(i64::from(options.log_lines)),
            timestamps: true,
            ..LogParams::default()
        };
        let stream = cluster.log_stream(namespace, &self.pod, &parameters).await?;
        tail(stream, options.log_bytes).await.map_err(|error| ClusterError::Transport {
            doing: format!("read the log of the pod {}", self.pod),
            reason: error.to_string(),
        })
    }
}

/// The last `limit` bytes, from the first line on that is whole.
async fn tail(
    mut from: impl futures_util::AsyncRead + Unpin,
    limit: usize,
) -> std::io::Result<String> {
    let mut held: VecDeque<u8> = VecDeque::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut is_cut = false;
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        held.extend(chunk.get(..read).unwrap_or_default());
        let surplus = held.len().saturating_sub(limit);
        is_cut |= surplus > 0;
        held.drain(..surplus);
    }
    let bytes = Vec::from(held);
    let text = String::from_utf8_lossy(&bytes);
    if !is_cut {
        return Ok(text.into_owned());
    }
    // Of half a line, half a secret could stay.
    let whole = text.split_once('\n').map_or("", |(_, rest)| rest);
    Ok(format!("(what came before is cut off)\n{whole}"))
}

/// The logs that a pod has.
pub(super) fn of(pod: &Pod) -> Vec<Log> {
    let status = pod.status.as_ref();
    let lists = status.map(|it| [&it.init_container_statuses, &it.container_statuses]);
    let mut logs = Vec::new();
    for container in lists.into_iter().flatten().flatten().flatten() {
        let state = container.state.as_ref();
        let has_run = state.is_some_and(|it| it.running.is_some() || it.terminated.is_some());
        let log =
            |previous| Log { pod: pod.name_any(), container: container.name.clone(), previous };
        if has_run {
            logs.push(log(false));
        }
        if container.restart_count > 0 {
            logs.push(log(true));
        }
    }
    logs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_log_keeps_whole_lines_of_its_end() {
        let text = "one\ntwo hunter22\nthree\n";
        assert_eq!(tail(text.as_bytes(), 100).await.unwrap(), text);
        let cut = "(what came before is cut off)\n";
        assert_eq!(tail(text.as_bytes(), 10).await.unwrap(), format!("{cut}three\n"));
        assert_eq!(tail(text.as_bytes(), 3).await.unwrap(), cut);
    }

    #[test]
    fn only_what_has_run_has_a_log() {
        let container = |name: &str, state: serde_json::Value, restarts: i32| {
            serde_json::json!({"name": name, "ready": false, "image": "", "imageID": "",
                "restartCount": restarts, "state": state})
        };
        let pod = serde_json::json!({"metadata": {"name": "p"}, "status": {
            "initContainerStatuses": [container("i", serde_json::json!({"terminated": {"exitCode": 0}}), 0)],
            "containerStatuses": [container("a", serde_json::json!({"running": {}}), 1),
                container("b", serde_json::json!({"waiting": {}}), 0)]}});
        let logs = of(&serde_json::from_value(pod).unwrap());
        let paths: Vec<String> = logs.iter().map(Log::path).collect();
        assert_eq!(paths, ["logs/p/i.log", "logs/p/a.log", "logs/p/a.previous.log"]);
    }
}
