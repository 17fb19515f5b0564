//! WireGuard in userspace: `get=1` on a unix socket, answered in lines of `key=value`.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use super::Peer;

const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn peers(sockets: &Path, interface: &str) -> io::Result<Option<Vec<Peer>>> {
    let mut stream = match UnixStream::connect(sockets.join(format!("{interface}.sock"))) {
        Ok(stream) => stream,
        // The socket of one that was killed stays behind.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"get=1\n\n")?;
    parse(BufReader::new(stream)).map(Some)
}

fn parse(answer: impl BufRead) -> io::Result<Vec<Peer>> {
    let mut peers: Vec<Peer> = Vec::new();
    for line in answer.lines() {
        let line = line?;
        let Some((key, value)) = line.split_once('=') else { break };
        if key == "errno" && value != "0" {
            let errno = value.parse::<i32>().unwrap_or_default();
            return Err(io::Error::from_raw_os_error(errno.saturating_abs()));
        }
        if key == "public_key" {
            peers.push(Peer::default());
        }
        // What comes before the first peer is the device's.
        let Some(peer) = peers.last_mut() else { continue };
        if key == "last_handshake_time_sec" {
            peer.last_handshake = value.parse().ok().filter(|time| *time != 0);
        } else if key == "allowed_ip" {
            peer.allowed_ips.extend(value.parse::<ipnet::IpNet>());
        }
    }
    Ok(peers)
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixListener};

    use super::*;

    const ANSWER: &str = "\
private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a
listen_port=12912
public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33
endpoint=[abcd:23::33%2]:51820
last_handshake_time_sec=1700000000
last_handshake_time_nsec=5
allowed_ip=192.168.4.4/32
allowed_ip=2001:db8:1:0:1::/80
public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376
last_handshake_time_sec=0
errno=0

";

    #[test]
    fn peers_are_told_apart() {
        let peers = parse(ANSWER.as_bytes()).unwrap();
        assert_eq!(peers.len(), 2);
        assert_eq!(peers[0].last_handshake, Some(1_700_000_000));
        let allowed = ["192.168.4.4/32", "2001:db8:1:0:1::/80"].map(|net| net.parse().unwrap());
        assert_eq!(peers[0].allowed_ips, allowed);
        assert_eq!(peers[1].last_handshake, None);
        assert!(peers[1].allowed_ips.is_empty());
        assert!(parse(&b"errno=-13\n\n"[..]).is_err());
    }

    #[test]
    fn only_a_socket_that_answers_is_wireguard() {
        let directory = tempfile::tempdir().unwrap();
        assert!(peers(directory.path(), "wg0").unwrap().is_none(), "no socket");
        let listener = UnixListener::bind(directory.path().join("wg0.sock")).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 7];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(&request, b"get=1\n\n");
            // It keeps the connection for further requests.
            stream.write_all(ANSWER.as_bytes()).unwrap();
            let _ = stream.read(&mut request);
        });
        assert_eq!(peers(directory.path(), "wg0").unwrap().unwrap().len(), 2);
        server.join().unwrap();
        assert!(peers(directory.path(), "wg0").unwrap().is_none(), "its socket alone");
    }
}
