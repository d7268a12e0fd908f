"""The other way in: nothing of discord.py is set, it believes it talks to discord.com.

A connector with its own resolver leads Discord's names to the playground, whose certificate a
private authority signed for this test alone.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from pathlib import Path

import aiohttp
import discord
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from discord.http import Route

from bot.playground import InteractionState, Playground
from tests.test_bot_playground_bot import Painter
from tests.test_bot_playground_support import judged, running

NAMES = ("discord.com", "gateway.discord.gg", "cdn.discordapp.com")


class PrivateAuthority:
    """A certificate authority for one test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "playground")])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self.certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def server_context(self, folder: Path) -> ssl.SSLContext:
        """Return the context of a server with Discord's names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAMES[0])])
        alternatives = [x509.DNSName(name) for name in NAMES]
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            self._builder(subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName([*alternatives, address]), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority and no other."""
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )


class Loopback(AbstractResolver):
    """Leads Discord's names to the playground, and no other name anywhere."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked: set[str] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.add(host)
        if host not in NAMES:
            raise OSError(f"nothing but Discord may be reached, not {host}")
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=self._port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Have nothing to close."""


async def test_an_unpatched_client_over_tls(tmp_path: Path) -> None:
    authority = PrivateAuthority()
    assert Route.BASE == "https://discord.com/api/v10"
    playground = Playground(ssl_context=authority.server_context(tmp_path))
    async with judged(playground) as pg:
        resolver = Loopback(pg.port)
        connector = aiohttp.TCPConnector(
            resolver=resolver, ssl=authority.client_context(), limit=0, force_close=True
        )
        client = Painter(connector=connector)
        async with running(pg, client):
            await pg.ready()
            ix = await pg.slash("alice", "imagine", {"prompt": "a red heart"})
            assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
            post = await pg.wait(
                lambda ledger: next((m for m in ledger.messages.values() if m.custom_ids), None)
            )
            url = post.attachments[0]["url"]
            assert url.startswith("https://cdn.discordapp.com/attachments/")
            message = await client.get_partial_messageable(pg.channel_id).fetch_message(post.id)
            assert await message.attachments[0].read() == await pg.read_attachment(
                post.attachments[0]
            )
            pg.faults.close_gateway(4000)
            await pg.wait(lambda ledger: ledger.happened("resume"))
            pressed = await pg.press("bob", post.id, "v1:info:0")
            assert await pressed.acknowledged is InteractionState.ACKNOWLEDGED
            assert isinstance(client.get_channel(pg.channel_id), discord.TextChannel)
        assert resolver.asked == set(NAMES)


async def test_the_page_is_not_there_over_tls(tmp_path: Path) -> None:
    authority = PrivateAuthority()
    async with Playground(ssl_context=authority.server_context(tmp_path)) as pg:
        connector = aiohttp.TCPConnector(
            resolver=Loopback(pg.port), ssl=authority.client_context(), force_close=True
        )
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get(f"https://discord.com/{pg.key}/") as answer:
                assert answer.status == 404
            url = f"https://127.0.0.1:{pg.port}/api/v10/gateway"
            async with session.get(url, headers={"Host": "127.0.0.1"}) as answer:
                assert answer.status == 403
