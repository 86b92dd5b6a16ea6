"""The tables of an adopting team, as its own models describe them: what the doors are tested on.

They stand on a Base of their own, so that the suite's metadata keeps to the suite's tables.
"""

from dataclasses import dataclass
from uuid import UUID

import asyncpg
from sqlalchemy import ForeignKeyConstraint, MetaData, PrimaryKeyConstraint, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from mis_tenancy.identifiers import new_id
from mis_tenancy.policies import protection
from mis_tenancy.tables import TenantScoped


class Base(DeclarativeBase):
    metadata = MetaData()
    type_annotation_map = {UUID: Uuid(as_uuid=True)}  # noqa: RUF012  # SQLAlchemy reads it as a class attribute


class Project(TenantScoped, Base):
    __tablename__ = "projects"

    id: Mapped[UUID]
    name: Mapped[str]
    tasks: Mapped[list["Task"]] = relationship(back_populates="project", order_by="Task.id")

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "id"),)


class Task(TenantScoped, Base):
    __tablename__ = "tasks"

    id: Mapped[UUID]
    project_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(default="task")
    project: Mapped[Project] = relationship(back_populates="tasks")

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "project_id"], ["projects.tenant_id", "projects.id"]),
    )


PROJECTS, TASKS = Base.metadata.tables["projects"], Base.metadata.tables["tasks"]

_TABLES = """
create table projects (
    tenant_id uuid not null references tenants (id), id uuid not null, name text not null,
    primary key (tenant_id, id));
create table tasks (
    tenant_id uuid not null references tenants (id), id uuid not null, project_id uuid not null,
    name text not null,
    primary key (tenant_id, id), foreign key (tenant_id, project_id) references projects (tenant_id, id));
"""
_TENANT = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
values ($1::uuid, $1::text, $1::text, $1::text, 'basic', 'active', now(), now(), now())
"""


@dataclass(frozen=True)
class Team:
    """A tenant with its projects; each project has two tasks."""

    id: UUID
    projects: list[UUID]
    tasks: list[UUID]


async def make_tables(connection: asyncpg.Connection) -> None:
    """Create the two tables as their owner."""
    await connection.execute(_TABLES + ";".join((*protection("projects"), *protection("tasks"))))


async def make_team(connection: asyncpg.Connection, projects: int) -> Team:
    """Create a tenant with `projects` projects, as the owner of the tables."""
    team = Team(new_id(), [new_id() for _ in range(projects)], [new_id() for _ in range(projects * 2)])
    await connection.execute(_TENANT.replace("$1", f"'{team.id}'"))
    await connection.executemany(
        "insert into projects values ($1, $2, 'project')", [(team.id, project) for project in team.projects]
    )
    await connection.executemany(
        "insert into tasks values ($1, $2, $3, 'task')",
        [(team.id, task, team.projects[at // 2]) for at, task in enumerate(team.tasks)],
    )
    return team
